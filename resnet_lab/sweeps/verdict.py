"""How a run is doing, as one number, and whether it is worth going on with."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from resnet_lab.training.config import Config

if TYPE_CHECKING:
    from optuna import Trial


def cohort_value(
    scores: Mapping[str, Mapping[str, float]], names: Iterable[str], metric: str
) -> float:
    """Mean of a metric over the networks of a cohort.

    A network that has diverged counts as wrong on every image, and its loss as infinite.

    Args:
        scores: network -> error, top5_error, loss on the validation split.
        names: of all networks of the cohort.
        metric: validation_error (percent), validation_top5_error or validation_loss.
    """
    name = metric.removeprefix("validation_")
    worst = math.inf if name == "loss" else 100.0
    values = [scores.get(network, {}).get(name, worst) for network in names]
    return sum(values) / len(values)


def final_value(info: Mapping[str, Any], metric: str) -> float:
    """The same of a finished run's last evaluation; its training error where none is held out.

    Args:
        info: contents of run.json.
    """
    finals = [member["final"] for member in info["networks"]]
    if not any(metric in final for final in finals):
        metric = "train_error"
    worst = math.inf if metric.endswith("loss") else 100.0
    return float(sum(final.get(metric, worst) for final in finals) / len(finals))


def in_words(metric: str, value: float) -> str:
    """Write a metric's value: "validation error 3.21 %"."""
    unit = "" if metric.endswith("loss") else " %"
    return f"{metric.replace('_', ' ')} {value:.2f}{unit}"


class TrialJudge:
    """Report a run's evaluations to its trial, and end it where the pruner says so.

    A storage that cannot be reached for the moment never stops a training.

    Args:
        trial: of the run.
        config: of the run.
        metric: what is minimised.
        stops: whether the sweep stops runs early.
    """

    def __init__(self, trial: Trial, config: Config, metric: str, stops: bool) -> None:
        self._trial = trial
        self._names = [spec.name for spec in config.specs()]
        self._every = config.recipe.evaluate_every
        self._metric = metric
        self._stops = stops
        self._known = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> bool:
        """Say whether to end the run after the evaluation at `step`."""
        evaluation = step // self._every
        if evaluation in self._known:  # a resumed run repeats what it had passed
            return False
        try:
            value = cohort_value(scores, self._names, self._metric)
            self._trial.report(value, evaluation)
            self._known.add(evaluation)
            return self._stops and self._trial.should_prune()
        except Exception as error:
            print(f"the study did not take an evaluation ({error}): going on", file=sys.stderr)
            return False
