"""How a point of a W&B sweep stands, by what the server says of its run; and its command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.resume import listing
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.errors import UserError
from resnet_lab.sweeps import wandb_points
from resnet_lab.sweeps.wandb_points import HandedOut, Point
from resnet_lab.tracking import wandb_private

CONTENT: dict[str, Any] = {
    "program": "resnet-lab",
    "parameters": {
        "network": {"values": ["plain-8", "plain-20"]},
        "recipe.lr": {"values": [0.1, 1]},
        "recipe": {"parameters": {"clip": {"value": None}, "drops": {"value": [4, 8]}}},
    },
    "command": ["resnet-lab", "train", "--tracking=wandb", "--study=depths", "${args}", "--seed=3"],
}
SETTINGS = {"network": "plain-8", "recipe.lr": 1, "recipe": {"clip": None, "drops": [4, 8]}}


def point(state: str, summary: dict[str, Any], config: Any = None, age: int = 60) -> Point:
    """The point of a run that the server has in a state, handed out `age` minutes ago."""
    known = {**SETTINGS, "recipe": {**SETTINGS["recipe"], "lr": 1, "momentum": 0.9}, "seed": 3}
    run = SimpleNamespace(
        id="abc",
        name="a run",
        state=state,
        summary_metrics=summary,
        config=known if config is None else config,
        created_at=(datetime.now(UTC) - timedelta(minutes=age)).isoformat(),
    )
    return wandb_points._point(run, CONTENT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "summary", "age", "ended", "reason"),
    [
        ("finished", {"status": "finished"}, 60, "finished", ""),
        ("failed", {"status": "diverged"}, 60, "diverged", ""),
        ("failed", {"status": "failed", "error": "no\n data"}, 60, "lost", "no data"),
        ("failed", {}, 60, "lost", "it ended with an error that it could not send"),
        ("crashed", {}, 60, "lost", "its process ended without a word"),
        ("killed", {}, 60, "lost", "it was killed"),
        ("preempted", {"error": "no data"}, 60, "lost", "no data; W&B hands it out again"),
        ("preempting", {}, 60, "lost", "its machine was taken away; W&B hands it out again"),
        ("pending", {}, 60, "lost", "it was handed out and has not begun: its process could not"),
        ("pending", {}, 1, "running", "it was handed out and has not begun"),
        ("running", {}, 60, "running", "it is being trained"),
        ("finished", {"status": "interrupted"}, 60, "interrupted", "it was interrupted or stopped"),
        ("failed", {"status": "interrupted"}, 60, "interrupted", "it was interrupted or stopped"),
    ],
)
def test_how_a_point_stands(
    state: str, summary: dict[str, Any], age: int, ended: str, reason: str
) -> None:
    found = point(state, summary, age=age)
    assert (found.ended, found.is_done) == (ended, ended in ("finished", "diverged"))
    if not found.is_done:
        assert found.reason.startswith(reason)
    assert found.settings == SETTINGS


def handed(*found: Point, **content: Any) -> HandedOut:
    return HandedOut("e/p/s", {**CONTENT, **content}, found, expected=7)


def test_points_are_trained_again_unless_that_was_on_purpose_or_nobody_knows_them() -> None:
    lost, stopped = point("crashed", {}), point("finished", {"status": "interrupted"})
    unknown, alive = point("failed", {}, config={"network": "plain-8"}), point("running", {})
    done = point("finished", {})
    all_of_them = (lost, stopped, unknown, alive, done)
    assert handed(*all_of_them).to_train() == [lost, stopped]
    assert handed(*all_of_them, early_terminate={"type": "hyperband"}).to_train() == [lost]
    lines = listing(handed(*all_of_them))
    assert lines[0] == "e/p/s: 5 points handed out, 4 without a finished run"
    assert lines[3] == (
        "  a run: failed: it ended with an error that it could not send; its settings are not "
        "known: delete the run in W&B, and an agent gets it again"
    )
    assert lines[-1] == "2 more are not handed out yet: wandb agent e/p/s"


def test_a_point_is_trained_by_the_command_that_an_agent_would_run() -> None:
    words = handed().command(point("failed", {}), ["--seed=4"])
    assert words[:4] == ["resnet-lab", "train", "--tracking=wandb", "--study=depths"]
    config = parse_config(from_wandb(words[2:]))
    assert (config.network, config.study, config.seed) == ("plain-8", "depths", 4)
    assert (config.recipe.lr, config.recipe.clip, config.recipe.drops) == (1.0, None, (4, 8))
    assert config.recipe.momentum == 0.9
    by_file = {**CONTENT, "command": ["resnet-lab", "train", "${args_json_file}"]}
    with pytest.raises(UserError, match=r"has \$\{args_json_file\}, which only an agent can fill"):
        HandedOut("e/p/s", by_file, (), None).command(point("failed", {}))


def test_a_client_without_what_is_used_of_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_private, "_SWEEPS", "wandb.elsewhere")
    with pytest.raises(UserError, match=r"wandb [\d.]+ has no wandb\.elsewhere\.create_sweep_comm"):
        handed().command(point("failed", {}))


@pytest.mark.parametrize("name", ["abc", "project/abc", "entity/project/", "a/b/c/d"])
def test_a_sweep_is_named_in_full(name: str) -> None:
    with pytest.raises(UserError, match=f"the sweep is '{name}': give ENTITY/PROJECT/ID"):
        wandb_points.handed_out(name)
