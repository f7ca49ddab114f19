"""Random and Bayesian search whose n-th draw depends on the seed, on n, and on results alone.

Optuna's samplers draw from one stream a process, so that who asked before changes what comes next.
Here every slot has a stream of its own, of the search's seed and the slot's number: a random search
is the same whatever the number of workers, and a Bayesian one repeats itself with one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from resnet_lab.sweeps.queue import SLOT

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from resnet_lab.sweeps.sweep import Hyperband


def sampler(method: Literal["grid", "random", "bayes"], seed: int) -> BaseSampler:
    """Make Optuna's sampler for a sweep's method: TPE for bayes, random ones else."""
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler

    def fresh(number: int) -> BaseSampler:
        stream = _stream(seed, number)
        return TPESampler(seed=stream) if method == "bayes" else RandomSampler(seed=stream)

    class Reseeded(BaseSampler):
        """Another sampler, begun anew for every slot."""

        def __init__(self) -> None:
            self._inner: dict[int, BaseSampler] = {}

        def _of(self, trial: Any) -> BaseSampler:
            if trial.number not in self._inner:
                slot = int(trial.user_attrs[SLOT]) if method != "grid" else 0
                self._inner[trial.number] = fresh(slot)
            return self._inner[trial.number]

        def before_trial(self, study: Any, trial: Any) -> None:
            self._of(trial).before_trial(study, trial)

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return self._of(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return self._of(trial).sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return self._of(trial).sample_independent(study, trial, name, distribution)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            self._of(trial).after_trial(study, trial, state, values)
            del self._inner[trial.number]

    return Reseeded()


def pruner(early_terminate: Hyperband | None) -> BasePruner:
    """Make Optuna's pruner that follows W&B's rule: successive halving, one bracket."""
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    if early_terminate is None:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=early_terminate.first, reduction_factor=early_terminate.eta
    )


def _stream(seed: int, number: int) -> int:
    """A seed of its own for each slot, unlike those of neighbouring seeds."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
