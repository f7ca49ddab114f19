from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import (
    PAIR,
    PLAIN,
    RESIDUAL,
    assert_same_result,
    assert_same_rows,
    assert_same_weights,
    info,
    member,
    rows,
    series,
    tiny,
    weights,
)
from torch import Tensor, nn

from resnet_lab.runs.frames import load_runs
from resnet_lab.runs.summary import summary_lines
from resnet_lab.training.cohort import Cohort
from resnet_lab.training.train import train

RECIPES = {
    "plain SGD": {},
    "every option": {
        "nesterov": True,
        "drops": [9],
        "warmup_until_error": 95.0,
        "warmup_window": 2,
        "clip": 0.5,
        "clip_scope": "network",
        "ghost_batch": 8,
        "precise_bn": 32,
        "test_curve": True,
    },
    "plateau and layer clipping": {
        "plateau_patience": 1,
        "evaluate_every": 3,
        "clip": 0.1,
        "warmup_steps": 4,
    },
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The residual network trained by itself, undisturbed."""
    return train(tiny(tmp_path_factory.mktemp("alone"), network=RESIDUAL))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_pair_trained_together_equals_the_two_trained_alone(recipe: dict[str, Any]) -> None:
    together = train(tiny("together", **recipe))
    for name in PAIR:
        single = train(tiny("single", network=name, **recipe))
        assert_same_result(together, single, name)
        assert member(together, name) == member(single, name)


def test_recording_changes_nothing_that_is_trained() -> None:
    recorded, unrecorded = (
        train(tiny("runs", recording={"enabled": enabled})) for enabled in (True, False)
    )
    assert_same_rows(rows(recorded, "metrics"), rows(unrecorded, "metrics"))
    for name in PAIR:
        assert_same_weights(weights(recorded, name), weights(unrecorded, name))
        assert member(recorded, name) == member(unrecorded, name)
    assert len(rows(recorded, "layers")) > 0
    assert len(rows(unrecorded, "layers")) == 0


def poison(monkeypatch: pytest.MonkeyPatch, steps: dict[str, int]) -> None:
    """Make the weights of networks NaN just before the given steps."""
    healthy = Cohort.learn

    def learn(self: Cohort, member: int, images: Tensor, labels: Tensor) -> Tensor:
        if steps.get(self.names[member]) == self.global_step:
            weight = self.networks[member].get_parameter("stem.conv.weight")
            torch.nn.init.constant_(weight, torch.nan)
        return healthy(self, member, images, labels)

    monkeypatch.setattr(Cohort, "learn", learn)


def test_a_member_that_diverges_is_frozen_and_the_other_trains_on_unharmed(
    monkeypatch: pytest.MonkeyPatch, alone: Path
) -> None:
    poison(monkeypatch, {PLAIN: 6})
    run = train(tiny())

    assert_same_result(run, alone, RESIDUAL)
    assert member(run, RESIDUAL) == member(alone, RESIDUAL)
    assert info(run)["status"] == "finished"
    diverged = member(run, PLAIN)
    assert (diverged["status"], diverged["diverged_at"]) == ("diverged", 6)
    assert diverged["final"] == {}
    assert list(series(run, PLAIN, "train", "error")) == [4]
    # The host looks when it logs, after 8 updates; until then the network is run.
    assert weights(run, PLAIN)["stem.norm.num_batches_tracked"] == 8
    assert weights(run, RESIDUAL)["stem.norm.num_batches_tracked"] == 12
    assert rows(run, "layers", PLAIN)["step"].max() == 4


def test_a_diverged_member_has_no_final_errors_and_its_step_in_the_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison(monkeypatch, {PLAIN: 9})
    run = train(tiny(test_curve=True))
    frame = load_runs(run).runs.set_index("network")
    assert frame["status"].to_dict() == {PLAIN: "diverged", RESIDUAL: "finished"}
    assert frame["diverged_at"].dropna().to_dict() == {PLAIN: 9}
    errors = ["train_error", "validation_error", "test_error"]
    assert frame.loc[PLAIN, errors].isna().all()
    assert frame.loc[RESIDUAL, errors].notna().all()
    assert summary_lines(info(run))[1].endswith("-  diverged at step 9")


def test_when_every_member_has_diverged_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, {PLAIN: 2, RESIDUAL: 5})
    run = train(tiny(iterations=40))
    assert info(run)["status"] == "finished"
    assert info(run)["step"] == 6
    assert [member(run, name)["status"] for name in PAIR] == ["diverged", "diverged"]
    assert [member(run, name)["diverged_at"] for name in PAIR] == [2, 5]


def break_update(monkeypatch: pytest.MonkeyPatch, name: str, step: int) -> None:
    """Make every weight of a network NaN or infinite by the update of `step`, not before."""
    healthy = Cohort.lr_at

    def lr_at(self: Cohort, member: int, at: int) -> float:
        broken = (self.names[member], at) == (name, step)
        return math.inf if broken else healthy(self, member, at)

    monkeypatch.setattr(Cohort, "lr_at", lr_at)


@pytest.mark.parametrize("recipe", [{}, {"precise_bn": 32}, {"precision": "bfloat16"}], ids=str)
def test_a_member_whose_last_update_diverges_has_no_error(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(tiny("alone", network=RESIDUAL, **recipe))
    break_update(monkeypatch, PLAIN, 11)
    run = train(tiny("runs", **recipe))
    diverged = member(run, PLAIN)
    assert (diverged["status"], diverged["diverged_at"], diverged["final"]) == ("diverged", 12, {})
    assert list(series(run, PLAIN, "validation", "error")) == [6]
    assert list(series(run, PLAIN, "test", "error")) == []
    assert list(series(run, PLAIN, "train", "error")) == [4, 8]
    assert_same_result(run, alone, RESIDUAL)
    assert member(run, RESIDUAL) == member(alone, RESIDUAL)


def test_an_update_that_diverges_just_before_an_evaluation_is_seen_there(
    monkeypatch: pytest.MonkeyPatch, alone: Path
) -> None:
    break_update(monkeypatch, PLAIN, 5)
    seen: list[set[str]] = []
    run = train(tiny(), judge=lambda step, scores: seen.append(set(scores)) or False)
    assert seen == [{RESIDUAL}]
    assert member(run, PLAIN)["diverged_at"] == 6
    assert series(run, PLAIN, "validation", "error") == {}
    assert_same_result(run, alone, RESIDUAL)


def test_a_run_whose_members_all_diverge_at_an_evaluation_ends_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_update(monkeypatch, PLAIN, 5)
    run = train(tiny(network=PLAIN))
    assert (info(run)["status"], info(run)["step"]) == ("finished", 6)
    assert member(run, PLAIN)["diverged_at"] == 6


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("buffer", ["stem.norm.running_mean", "stage3.block1.norm2.running_var"])
def test_running_statistics_that_are_not_finite_are_divergence(
    buffer: str, value: float, monkeypatch: pytest.MonkeyPatch, alone: Path
) -> None:
    healthy = Cohort.learn

    def learn(self: Cohort, member: int, images: Tensor, labels: Tensor) -> Tensor:
        if (self.names[member], self.global_step) == (PLAIN, 11):
            self.networks[member].get_buffer(buffer).fill_(value)
        return healthy(self, member, images, labels)

    monkeypatch.setattr(Cohort, "learn", learn)
    run = train(tiny())
    diverged = member(run, PLAIN)
    assert (diverged["status"], diverged["diverged_at"], diverged["final"]) == ("diverged", 12, {})
    assert_same_result(run, alone, RESIDUAL)


def overflow(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """After `step`, and only then, the plain network is finite but too large to be evaluated."""
    healthy = Cohort.examine

    def examine(self: Cohort) -> None:
        def enlarge(network: nn.Module, inputs: object, logits: Tensor) -> Tensor:
            return logits if network.training or self.global_step != step else logits * 1e38 * 1e38

        self.networks[self.names.index(PLAIN)].register_forward_hook(enlarge)
        healthy(self)

    monkeypatch.setattr(Cohort, "examine", examine)


def test_outputs_that_are_not_finite_at_the_end_are_divergence(
    monkeypatch: pytest.MonkeyPatch, alone: Path
) -> None:
    overflow(monkeypatch, 12)
    run = train(tiny())
    diverged = member(run, PLAIN)
    assert (diverged["status"], diverged["diverged_at"], diverged["final"]) == ("diverged", 12, {})
    assert list(series(run, PLAIN, "validation", "error")) == [6]
    assert_same_result(run, alone, RESIDUAL)


def test_outputs_that_are_not_finite_on_the_way_are_wrong_and_may_recover(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overflow(monkeypatch, 6)
    run = train(tiny())
    assert member(run, PLAIN)["status"] == "finished"
    errors, losses = (series(run, PLAIN, "validation", metric) for metric in ("error", "loss"))
    assert (errors[6], losses[6]) == (100.0, math.inf)
    assert errors[12] < 100.0


def test_the_old_errors_of_a_diverged_member_end_no_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = [10.0, 95.0, 95.0, 10.0]  # and 100 of NaN; the ring holds the last five steps
    poison(monkeypatch, {PLAIN: 4})
    healthy = Cohort.score

    def score(self: Cohort, member: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, error = healthy(self, member, images, labels)
        known = self.names[member] == PLAIN and self.global_step < len(errors)
        return loss, torch.tensor(errors[self.global_step]) if known else error

    monkeypatch.setattr(Cohort, "score", score)
    run = train(tiny(batch_size=512, log_every=5, warmup_until_error=50.0, warmup_window=3))
    assert member(run, PLAIN)["diverged_at"] == 4
    assert member(run, PLAIN)["warmup_ended_at"] is None


def test_a_training_error_takes_no_nan_for_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    healthy = Cohort.score

    def score(self: Cohort, member: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, error = healthy(self, member, images, 0 * labels)
        if member == 0:
            seen.append(float(error))
        return loss, error

    monkeypatch.setattr(Cohort, "score", score)
    poison(monkeypatch, {PLAIN: 2})
    train(tiny(iterations=4))
    assert seen[2:] == [100.0, 100.0]  # of class 0 all


def test_a_loss_that_is_infinite_counts_as_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    lr = Cohort.member_lr
    monkeypatch.setattr(
        Cohort,
        "member_lr",
        lambda self, i: float("inf") if (i, self.global_step) == (1, 2) else lr(self, i),
    )
    run = train(tiny())
    assert [member(run, name)["diverged_at"] for name in PAIR] == [None, 3]
