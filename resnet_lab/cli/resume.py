"""resnet-lab sweep --resume: the points of a W&B sweep that have no finished run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.data.fingerprint import check_there
from resnet_lab.errors import UserError

if TYPE_CHECKING:
    from resnet_lab.configuration.config import Config
    from resnet_lab.sweeps.wandb_agents import AgentsOutcome
    from resnet_lab.sweeps.wandb_points import HandedOut, Point

FOREIGN = ("storage", "devices", "retries", "seed", "smoke")
"""Flags of `sweep` without effect here, as the sweep on the server defines its runs."""


def resume(given: argparse.Namespace, extra: Sequence[str], defaults: argparse.Namespace) -> int:
    """List a sweep's points without a finished run, with reasons, and train exactly those.

    Args:
        given: the command's own flags.
        extra: flags of `train` for every run; they override the sweep's.
        defaults: the command's defaults.

    Raises:
        UserError: W&B cannot be used, there is no such sweep, data are missing, or a point's
            flags are none of `resnet-lab train`.
    """
    if given.file is not None:
        raise UserError(f"--resume says which sweep by its id: leave '{given.file}' out")
    for name in FOREIGN:
        if getattr(given, name) != getattr(defaults, name):
            raise UserError(f"--{name} says nothing to a W&B sweep that exists: leave it out")
    from resnet_lab.sweeps.wandb_agents import check_online, resume_points
    from resnet_lab.sweeps.wandb_points import handed_out, parts_of

    parts_of(given.resume)
    check_online()
    handed = handed_out(given.resume)
    print("\n".join(listing(handed)), flush=True)
    chosen = handed.to_train()[: given.count]
    if given.dry_run or not chosen:
        return 0
    flags = [*extra, *_places(given, defaults)]
    configs = [_config(handed, point, flags) for point in chosen]
    for config in configs:  # one message with the reason, not one a point
        check_there(config.data, config.data_dir)
    folder = Path(configs[0].runs_dir) / (configs[0].study or handed.sweep.rpartition("/")[2])
    result = resume_points(
        handed, workers=given.workers, count=given.count, flags=flags, study=folder
    )
    print("\n".join(outcome_lines(result)))
    return result.exit_code


def listing(handed: HandedOut) -> list[str]:
    """List a sweep's points without a finished run: how many, which, and why."""
    unfinished, known = handed.unfinished(), len(handed.points)
    lines = [f"{handed.sweep}: {known} points handed out, {len(unfinished)} without a finished run"]
    lines += [f"  {point.name}: {point.state}: {point.reason}" for point in unfinished]
    if handed.expected is not None and handed.expected > known:
        rest = handed.expected - known
        lines.append(f"{rest} more are not handed out yet: wandb agent {handed.sweep}")
    return lines


def outcome_lines(result: AgentsOutcome) -> list[str]:
    """Outcome of a W&B sweep after this machine's part, a line each."""
    lost = f"; in {result.diverged} of them a network diverged" if result.diverged else ""
    lines = [f"{result.finished} runs finished in the sweep {result.sweep}{lost}"]
    for name, state in result.failed:
        reason = result.reasons.get(name)
        lines.append(f"{state}: {name}" + (f": {reason}" if reason else ""))
    if result.interrupted:
        lines.append("interrupted: the same command continues")
    return lines


def _places(given: argparse.Namespace, defaults: argparse.Namespace) -> list[str]:
    """The flags for runs and data directories that the command line sets."""
    names = ("runs_dir", "study", "data_dir")
    said = {name: getattr(given, name) for name in names}
    return [
        f"--{name.replace('_', '-')}={value}"
        for name, value in said.items()
        if value != getattr(defaults, name)
    ]


def _config(handed: HandedOut, point: Point, flags: Sequence[str]) -> Config:
    """The configuration of a point's run."""
    words = handed.command(point, flags)
    if "train" not in words:
        raise UserError(f"the sweep runs {' '.join(words)}: resnet-lab train alone is resumed here")
    return parse_config(from_wandb(words[words.index("train") + 1 :]))
