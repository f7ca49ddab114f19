"""Early stopping of runs: Hyperband, by Optuna's pruner."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_lab.configuration.config import Config
from resnet_lab.sweeps.metric import cohort_value
from resnet_lab.sweeps.sweep import Hyperband

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner


def pruner(early_terminate: Hyperband | None) -> BasePruner:
    """Make Optuna's pruner that follows W&B's rule: successive halving, one bracket."""
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    if early_terminate is None:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=early_terminate.first, reduction_factor=early_terminate.eta
    )


class TrialJudge:
    """Report a run's evaluations to its trial, and end the run if the pruner says so.

    An unreachable storage never stops training.

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
        if evaluation in self._known:  # a resumed run repeats earlier evaluations
            return False
        try:
            value = cohort_value(scores, self._names, self._metric)
            self._trial.report(value, evaluation)
            self._known.add(evaluation)
            return self._stops and self._trial.should_prune()
        except Exception as error:
            print(f"the study did not take an evaluation ({error}): going on", file=sys.stderr)
            return False
