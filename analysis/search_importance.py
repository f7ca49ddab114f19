"""Which parameters of a search separate its best trials from the others: Optuna's PED-ANOVA."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_lab.sweeps.search_record import Range

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NEEDED = 10
"""Smallest number of ended trials: with fewer, the five best are too large a share."""
BEST = 5
"""Smallest number of best trials that Optuna accepts."""
BEST_SHARE = 0.1
"""Share of the trials that count as best, if more than `BEST`; Optuna's default."""
LOG_RATIO = 30
"""Without a range, numbers whose max / min is above this count as drawn in log."""


def importances(
    trials: pd.DataFrame, parameters: Sequence[str], ranges: Mapping[str, Range]
) -> pd.DataFrame:
    """Return how much each parameter separates the best trials from all, the largest first.

    PED-ANOVA (Watanabe et al. 2023), Optuna's default, over trials that ended; diverged
    ones count as the worst, those stopped early are left out. The best are a tenth of them, and at
    least five.

    Args:
        trials: trials of a search, as in `Search.trials`.
        parameters: the drawn ones.
        ranges: the ranges that they were drawn from, where known.

    Returns:
        Columns parameter, importance (shares that add up to 1), n (trials), best (how many of them
        count as best). Empty with fewer than `NEEDED` trials, without Optuna, or where nothing
        differs.
    """
    columns = ["parameter", "importance", "n", "best"]
    ended = trials[trials["status"].isin(["finished", "diverged"])]
    values = ended["value"].where(ended["status"] == "finished", np.inf).to_numpy(dtype=float)
    known = ~np.isnan(values)
    ended, values = ended[known], values[known]
    spaces = {name: _distribution(ended[name], ranges.get(name)) for name in parameters}
    used = {name: one for name, one in spaces.items() if one is not None}
    if len(ended) < NEEDED or not used or len(set(values)) < 2 or not _has_optuna():
        return pd.DataFrame(columns=columns)
    share = max(BEST_SHARE, BEST / len(ended))
    found = _ped_anova(ended, values, used, share)
    rows = [(name, value, len(ended), int(np.ceil(share * len(ended)))) for name, value in found]
    return pd.DataFrame(rows, columns=columns)


def _has_optuna() -> bool:
    return importlib.util.find_spec("optuna") is not None


def _ped_anova(
    ended: pd.DataFrame, values: np.ndarray[Any, Any], spaces: Mapping[str, Any], share: float
) -> list[tuple[str, float]]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    worst = float(values[np.isfinite(values)].max(initial=0.0)) + 1.0
    study = optuna.create_study()
    for (_, row), value in zip(ended.iterrows(), values, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                value=min(value, worst),
                params={name: _value(row[name], space) for name, space in spaces.items()},
                distributions=dict(spaces),
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=share)
        )
    return sorted(found.items(), key=lambda pair: -pair[1])


def _value(value: Any, space: BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(space, CategoricalDistribution):
        return str(value)
    return int(value) if isinstance(space, IntDistribution) else float(value)


def _distribution(values: pd.Series, drawn: Range | None) -> BaseDistribution | None:
    """Return a parameter's distribution; None with one value or missing values."""
    if not _has_optuna() or values.isna().any() or values.nunique() < 2:
        return None
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = pd.to_numeric(values, errors="coerce")
    is_list = drawn is not None and drawn.low is None and drawn.text.startswith("one of")
    if numbers.isna().any() or is_list:
        return CategoricalDistribution(sorted({str(one) for one in values}))
    low, high = float(numbers.min()), float(numbers.max())
    log = drawn.log if drawn is not None else low > 0 and high > LOG_RATIO * low
    if drawn is not None and drawn.low is not None and drawn.high is not None:
        low, high = min(low, drawn.low), max(high, drawn.high)
        if drawn.whole:
            return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=log)
