"""resnet-lab train"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.cli.parsing import config_files, parse_config
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.data.fingerprint import check_there
from resnet_lab.environment import variables_kept
from resnet_lab.errors import RunFailed, UserError
from resnet_lab.lifecycle import no_garbage_collection
from resnet_lab.rank import is_first_process
from resnet_lab.sweeps.parent_death import COMMAND, command_here, end_with, end_with_command
from resnet_lab.tracking.agent import (
    in_the_sweeps_place,
    may_end_early,
    not_tracked,
    report_failure,
    under_agent,
)
from resnet_lab.training.interruption import Interruption
from resnet_lab.training.launchers import launched, unheeded

if TYPE_CHECKING:
    from resnet_lab.configuration.config import Config
    from resnet_lab.training.logger import Judge


def run(arguments: Sequence[str]) -> int:
    """Train one run; 1 if it was interrupted.

    Under a W&B agent an interruption is no failure, as runs are stopped there on purpose.
    """
    _end_with_who_started()
    try:
        with Interruption(at_once=may_end_early()):
            return _train(arguments)
    except Exception as error:
        if under_agent():
            in_words = isinstance(error, UserError | RunFailed)
            told = str(error) if in_words else f"{type(error).__name__}: {error}"
            report_failure(told, of_machine=_is_of_machine(error, arguments))
        raise


def _is_of_machine(error: Exception, arguments: Sequence[str]) -> bool:
    """Whether any run would fail on this machine: files or packages are missing."""
    if any(isinstance(one, OSError | ImportError) for one in (error, error.__cause__)):
        return True
    if not all(Path(file).is_file() for file in config_files(from_wandb(arguments))):
        return True
    try:
        config = parse_config(from_wandb(arguments))
    except UserError:  # the configuration itself is the error
        return False
    try:
        check_there(config.data, config.data_dir)
    except UserError:
        return True
    return False


def _end_with_who_started() -> None:
    """Let this process end with the agent, sweep or rank 0 that started it, if any."""
    if under_agent():
        end_with(os.getppid(), signal.SIGTERM)
    end_with_command()


def _train(arguments: Sequence[str]) -> int:
    config = in_the_sweeps_place(parse_config(from_wandb(arguments)))
    if (note := unheeded(config.trainer)) is not None:
        print(f"resnet-lab: {note}", file=sys.stderr)
    with launched(config.trainer), variables_kept([COMMAND]):
        if config.trainer.processes_here > 1 and is_first_process():
            # For ranks that Lightning starts, which would otherwise hang in mid-step.
            os.environ.update(command_here(signal.SIGKILL))
        return _train_and_tell(config)


def _train_and_tell(config: Config) -> int:
    from resnet_lab.runs.directory import RunDirectory, read_info
    from resnet_lab.runs.provenance import trained_by_other_code
    from resnet_lab.runs.summary import summary_lines

    place = RunDirectory.of(config)
    known = place.read()
    if known is not None and place.data_was_guessed() and is_first_process():
        print(
            f"resnet-lab: {place.path} is of an earlier version, which did not note which images "
            "it read: by their place and number they were those that are there now. "
            "--study NAME trains it anew",
            file=sys.stderr,
        )
    if known is not None and known["status"] == "finished":
        print("already finished; the same run is not trained twice")
        other = trained_by_other_code(known["provenance"])
        if other is not None:
            print(f"note: other code trained it ({other}); --study NAME trains it again")
    if known is None and is_first_process() and (others := place.with_other_parts()):
        print(
            f"resnet-lab: note: the parts of {others[0]} had another content: this is another run",
            file=sys.stderr,
        )
    for note in notes(config) if is_first_process() else ():
        print(f"resnet-lab: {note}", file=sys.stderr)
    path = train_illustrated(config)
    if not is_first_process():
        return 0
    info = read_info(path)
    print("\n".join(summary_lines(info)))
    print(path)
    if info["status"] == "finished":
        return 0
    print(f"interrupted at step {info['step']}: the same command continues it")
    return 0 if under_agent() else 1


SMALL_IMAGE = 64
"""Image side in pixels up to which a 7x7 stem leaves too few pixels."""


def notes(config: Config) -> list[str]:
    """Notes on a run's settings to print before training."""
    untracked = not_tracked(config)
    return [*size_notes(config), *([] if untracked is None else [untracked])]


def size_notes(config: Config) -> list[str]:
    """Notes on networks designed for larger images than the dataset has."""
    shape = config.data.dataset.image_shape
    if shape is None or shape[-1] > SMALL_IMAGE:
        return []
    return [
        f"note: {spec.name} is made for images of 224 pixels and {config.data.name} has small "
        f"ones: it begins by a 7x7 convolution and a pooling that leave 1/16 of the pixels; "
        f"{replace(spec, stem='3x3').name} keeps them"
        for spec in config.specs()
        if spec.stem == "7x7"
    ]


def train_illustrated(config: Config, judge: Judge | None = None) -> Path:
    """Train a run in this process; if it is tracked, its layer maps are drawn at the end."""
    # Importing may take long, and nothing has begun yet that needs a clean end.
    with no_garbage_collection(), Interruption(at_once=may_end_early()):
        from resnet_lab.training.train import train

    if config.tracking == "none":  # no figures
        return train(config, judge=judge)
    with tempfile.TemporaryDirectory() as folder:
        return train(config, judge=judge, illustrate=partial(draw_layer_maps, Path(folder)))


def draw_layer_maps(folder: Path, run: Path) -> dict[str, Path]:
    """Draw the layer maps of each group of similar networks of a run; return key -> PNG file.

    A map shows a plain network beside its residual twin; in a run without such a pair, the deepest
    network alone.
    """
    from analysis.figures import layer_maps, style
    from analysis.groups import split_groups
    from resnet_lab.runs.frames import load_runs

    drawn = {}
    for group in split_groups(load_runs(run)):
        figure = layer_maps.draw(group) or layer_maps.draw_alone(group)
        if figure is not None:
            name = f"layer_maps-{group.slug}" if group.slug else "layer_maps"
            drawn[name] = style.save_png(figure, folder / f"{name}.png")
    return drawn
