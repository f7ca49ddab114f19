"""The metric of a sweep: one number that compares runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RESULTS = "results"
"""User attribute of a trial: network -> its final metric, or "diverged"."""
DIVERGED = "diverged"
STAND_IN = 100.0
"""Value that earlier versions stored for a run that diverged, for any metric."""


def split_metric(metric: str) -> tuple[str | None, str]:
    """Split a metric into the network of a cohort that it names, if any, and the plain metric."""
    network, _, name = metric.rpartition("/")
    return network or None, name


def cohort_value(
    scores: Mapping[str, Mapping[str, float]], names: Sequence[str], metric: str
) -> float:
    """A metric after an evaluation, of the network that it names, else of the first.

    The value of a network that has diverged is infinite, worse than any other.

    Args:
        scores: network -> error, top5_error, loss on the validation split.
        names: of all networks of the cohort.
        metric: such as validation_error (percent) or plain-56/validation_loss.
    """
    network, name = split_metric(metric)
    found = scores.get(network or names[0], {"loss": math.inf})
    if not math.isfinite(found.get("loss", 0.0)):
        return math.inf
    return found[name.removeprefix("validation_")]


def final_value(info: Mapping[str, Any], metric: str) -> float:
    """The metric at a finished run's last evaluation; see `shown_metric` for a run without it.

    Args:
        info: contents of run.json.
    """
    network, _ = split_metric(metric)
    members = info["networks"]
    member = next((one for one in members if one.get("network") == network), members[0])
    if has_diverged(member):
        return math.inf
    return float(member["final"][shown_metric(info, metric)])


def shown_metric(info: Mapping[str, Any], metric: str) -> str:
    """The metric to show for a run: the sweep's, or an error that the run has instead.

    The validation error replaces a top-5 error where there are too few classes. The training
    error replaces both where no validation images are held out.
    """
    finals = [one["final"] for one in info["networks"] if not has_diverged(one)]
    wanted = split_metric(metric)[1]
    for name in (wanted, "validation_error", "train_error"):
        if not finals or name in finals[0]:
            return name
    raise AssertionError("a network that has not diverged has a training error")


def has_diverged(member: Mapping[str, Any]) -> bool:
    """Whether a network in run.json has diverged: its loss or one of its results is not finite.

    If the loss becomes infinite or NaN with the last update, only the last evaluation shows it.
    """
    lost = any(value is None or not math.isfinite(value) for value in member["final"].values())
    return lost or member.get("diverged_at") is not None or member.get("status") == DIVERGED


def results(info: Mapping[str, Any], metric: str) -> dict[str, float | str]:
    """Each network's final metric, or "diverged"."""
    name = shown_metric(info, metric)
    return {
        one["network"]: DIVERGED if has_diverged(one) else one["final"][name]
        for one in info["networks"]
    }


def result_in_words(info: Mapping[str, Any], metric: str) -> str:
    """Write a finished run's result, with a number for each of its networks.

    "validation error 3.21 %", or "validation error: plain-56 diverged at step 12, resnet-56
    3.21 %".
    """
    members, name = info["networks"], shown_metric(info, metric)
    words = [_member_in_words(member, name) for member in members]
    if len(members) > 1:
        named = (f"{one['network']} {text}" for one, text in zip(members, words, strict=True))
        return f"{name.replace('_', ' ')}: {', '.join(named)}"
    return words[0] if has_diverged(members[0]) else f"{name.replace('_', ' ')} {words[0]}"


def _member_in_words(member: Mapping[str, Any], name: str) -> str:
    if has_diverged(member):
        step = member.get("diverged_at")
        return "diverged" + ("" if step is None else f" at step {step}")
    return _with_unit(name, member["final"][name])


def metric_in_words(metric: str, value: float) -> str:
    """Write a metric's value: "validation error 3.21 %", "plain-56 validation error 3.21 %"."""
    return f"{metric.replace('_', ' ').replace('/', ' ')} {_with_unit(metric, value)}"


def _with_unit(metric: str, value: float) -> str:
    return f"{value:.2f}" if metric.endswith("loss") else f"{value:.2f} %"


def best_value(trials: Iterable[FrozenTrial]) -> float | None:
    """The lowest value of complete trials that did not diverge; None if there are none."""
    return min((trial.value or 0.0 for trial in trials if has_result(trial)), default=None)


def has_result(trial: FrozenTrial) -> bool:
    """Whether a trial is complete with a final number; a trial stopped early is not."""
    return trial.state.name == "COMPLETE" and not _stands_for_none(trial)


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial is complete and one of its networks, or its number, diverged."""
    noted = trial.user_attrs.get(RESULTS, {}).values()
    return trial.state.name == "COMPLETE" and (DIVERGED in noted or _stands_for_none(trial))


def _stands_for_none(trial: FrozenTrial) -> bool:
    """Whether a trial's value marks divergence. Earlier versions stored no results."""
    value = trial.value or 0.0
    return not math.isfinite(value) or (value == STAND_IN and RESULTS not in trial.user_attrs)
