"""Random and Bayesian search whose n-th draw depends only on the seed, n and earlier results.

Optuna's samplers draw from one random stream a process, so earlier draws change later ones. Here
every slot has its own stream, seeded by the search's seed and the slot's number. A random search
is the same for any number of workers, and a Bayesian one is reproducible with one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from resnet_lab.sweeps.queue import SLOT

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def sampler(method: Literal["grid", "random", "bayes"], seed: int) -> BaseSampler:
    """Make Optuna's sampler for a sweep's method: TPE for bayes, random otherwise."""
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler

    def fresh(number: int) -> BaseSampler:
        stream = _stream(seed, number)
        return TPESampler(seed=stream) if method == "bayes" else RandomSampler(seed=stream)

    class Reseeded(BaseSampler):
        """A wrapper that reseeds another sampler for every slot."""

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


def _stream(seed: int, number: int) -> int:
    """The seed of a slot's stream; neighbouring search seeds give unrelated ones."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
