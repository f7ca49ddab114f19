"""Factorial studies: plain networks at every combination of two-level factors, paired by seed.

`analysis.factorial_design` finds them among runs. The reference is the cell in which no factor is
changed. The twin, a residual network of the same depth in the reference's settings, says what
training error is without degradation.

With y(cell) the training error of one seed, x_f = -1 where factor f is as usual and +1 where it is
changed, and k factors, the effect of a set S of factors is

    effect(S) = 2^(1-k) * sum over cells of y(cell) * product over f in S of x_f

(Box, Hunter and Hunter, Statistics for Experimenters, chapter 5). For one factor that is the mean
of the changed cells minus the mean of the others; for two, half of what the second changes in the
effect of the first. Each seed gives one value of each effect, as its runs saw equal batches, so
Student's interval over seeds needs no assumption on how cells vary or correlate, only that an
effect scatters like a normal number over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from analysis.mediators import AIMS, MEDIATORS, Mediator, mean_of
from analysis.statistics import LEVEL, Floats, mean_interval, sign_flip_p, t_interval
from resnet_lab.networks.registry import AXES, find
from resnet_lab.runs.frames import Runs

TWIN = "twin"
CELLS = "cell"


def word(setting: str, value: str) -> str:
    """Return a value in words: a trait as in networks' names (nonorm), else ``clip 0.1``."""
    if setting not in AXES:
        return f"{setting} {value}"
    part = find(AXES[setting], value)
    return part.token if part is not None else value


@dataclass(frozen=True)
class Factor:
    """A factor of two levels: `settings` maps each column to its usual and its changed value."""

    settings: Mapping[str, tuple[str, str]]

    @property
    def name(self) -> str:
        """The changed level in words: ``leaky0.3``, ``clip 0.1``."""
        return self._text(1)

    @property
    def usual(self) -> str:
        """The usual level in words: ``relu``, ``clip none``."""
        return self._text(0)

    def _text(self, level: int) -> str:
        return ", ".join(word(name, values[level]) for name, values in self.settings.items())

    @property
    def aim(self) -> Mediator | None:
        """The mediator that the factor is meant to move."""
        return next((AIMS[name] for name in self.settings if name in AIMS), None)


@dataclass(frozen=True, eq=False)
class Factorial:
    """The runs of one factorial.

    Attributes:
        label: what the runs share, and the factors.
        slug: names its files ("" where there is one factorial).
        factors: in the order of the cells' digits.
        members: the plain networks, one row a run: run, network, seed, status, cell (a digit a
            factor, "010": only the second is changed), error (percent of training images at the end
            of training: 100 where the loss was no longer finite, NaN where the run has not
            ended), images, and the mediators.
        twins: the same of the residual networks of that depth in the reference's settings.
        runs: the frames of all of them.
    """

    label: str
    slug: str
    factors: tuple[Factor, ...]
    members: pd.DataFrame
    twins: pd.DataFrame
    runs: Runs

    @property
    def reference(self) -> str:
        """The cell in which nothing is changed."""
        return "0" * len(self.factors)

    @property
    def cells(self) -> list[str]:
        """All cells of the design: by how many factors are changed, then in their order."""
        digits = ("".join(one) for one in product("01", repeat=len(self.factors)))
        return sorted(digits, key=lambda cell: (cell.count("1"), [-int(one) for one in cell]))

    def cell_name(self, cell: str) -> str:
        """Return a cell in words: its changed factors, or "nothing changed"."""
        changed = [one.name for one, digit in zip(self.factors, cell, strict=True) if digit == "1"]
        return " + ".join(changed) or "nothing changed"

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds that have an end in every cell: the blocks of the analysis."""
        return [int(seed) for seed in self.table("error").index]

    @property
    def left_out(self) -> list[int]:
        """Seeds that lack an end in some cell."""
        return sorted(set(self.members["seed"].astype(int)) - set(self.seeds))

    @cached_property
    def missing(self) -> list[str]:
        """Cells in which no seed has come to its end."""
        ended = set(self.members.loc[self.members["error"].notna(), CELLS])
        return [cell for cell in self.cells if cell not in ended]

    @property
    def diverged(self) -> int:
        """Number of plain runs that diverged."""
        return int((self.members["status"] == "diverged").sum())

    @property
    def images(self) -> int:
        """Training images in each final error; 0 where unknown."""
        return int(self.members["images"].min())

    def table(self, value: str) -> pd.DataFrame:
        """Return a column of `members` by seed and cell: only seeds that have it in every cell."""
        known = self.members.pivot(index="seed", columns=CELLS, values=value)
        return known.reindex(columns=self.cells).astype(float).dropna().sort_index()

    @property
    def measured(self) -> list[Mediator]:
        """The mediators that were recorded, in every cell, for two seeds at least."""
        return [one for one in MEDIATORS if len(self.table(one.name)) > 1]

    @cached_property
    def effects(self) -> pd.DataFrame:
        """One row an effect on training error; empty where no seed has every cell.

        Columns: effect ("main", "interaction", "alone": the factor changed in the reference,
        "last": changed where all others are), factors (names), mean, low, high (points of training
        error, Student's 95 % interval over seeds, each of its own), n, sd (of one seed's effect),
        pooled_low, pooled_high (see `pooled_intervals`; NaN for alone and last), signs ("5 of 5
        below 0"), p (flipping signs of whole seeds), seeds (each one's effect).
        """
        return _effects(self)

    @cached_property
    def moved(self) -> pd.DataFrame:
        """One row a factor, recorded mediator and effect of the factor on it, "main" or "alone".

        Columns: factor, mediator, aimed (whether the factor is meant to move it), effect, mean,
        low, high (ratios changed over usual where the mediator is logarithmic, else differences),
        n.
        """
        return _moved(self)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a cell, and the twin: means over the seeds that have an end there.

        Columns: cell, name, network, n, mean, sd, lowest, highest (percent of training error),
        diverged, and the mean of each mediator (geometric where logarithmic; NaN where not
        recorded).
        """
        return _summary(self)


def signs_of(cells: Sequence[str], chosen: Sequence[int]) -> Floats:
    """Return the product of x_f over the `chosen` factors for each cell, -1 or +1."""
    digits = np.array([[2 * int(one) - 1 for one in cell] for cell in cells], dtype=float)
    return np.asarray(digits[:, list(chosen)].prod(axis=1), dtype=float)


def subsets(count: int) -> list[tuple[int, ...]]:
    """Return all non-empty sets of factors, the smallest first."""
    sizes = range(1, count + 1)
    return [one for size in sizes for one in combinations(range(count), size)]


def _effects(study: Factorial) -> pd.DataFrame:
    table = study.table("error")
    if table.empty:
        return pd.DataFrame()
    cells, names = study.cells, [one.name for one in study.factors]
    weights: list[tuple[str, str, Floats]] = []
    for chosen in subsets(len(names)):
        kind = "main" if len(chosen) == 1 else "interaction"
        text = " x ".join(names[one] for one in chosen)
        weights.append((kind, text, signs_of(cells, chosen) * 2.0 / len(cells)))
    for number, name in enumerate(names):
        weights.append(("alone", name, _between(study, number, alone=True)))
        weights.append(("last", name, _between(study, number, alone=False)))
    pooled = pooled_intervals(table)
    rows = [
        {
            "effect": kind,
            "factors": text,
            **_interval(table, one, study.images),
            **dict(zip(("pooled_low", "pooled_high"), bounds, strict=True)),
        }
        for (kind, text, one), bounds in zip(
            weights, [*pooled, *[(np.nan, np.nan)] * (2 * len(names))], strict=True
        )
    ]
    return pd.DataFrame(rows)


def _between(study: Factorial, number: int, *, alone: bool) -> Floats:
    """Return weights of the cells: one factor changed minus usual, the others usual or changed."""
    other = "0" if alone else "1"
    changed, usual = (
        "".join(digit if one == number else other for one in range(len(study.factors)))
        for digit in "10"
    )
    pairs = ((cell == changed) * 1.0 - (cell == usual) * 1.0 for cell in study.cells)
    return np.array(list(pairs), dtype=float)


def _interval(table: pd.DataFrame, weights: Floats, images: int) -> dict[str, Any]:
    """Return an effect's mean, interval, n, sd, signs, p and seeds."""
    values = pd.Series(table.to_numpy() @ weights, index=table.index)
    least = 100 / images / np.sqrt(12) * float(np.sqrt((weights**2).sum())) if images else 0.0
    row = mean_interval(values, LEVEL, least)
    side = "below" if row["mean"] < 0 else "above"
    agree = int((values < 0).sum() if row["mean"] < 0 else (values > 0).sum())
    return {
        **{name: float(row[name]) for name in ("mean", "low", "high")},
        "n": int(row["n"]),
        "sd": float(row["sd"]),
        "signs": f"{agree} of {len(values)} {side} 0",
        "p": sign_flip_p(values),
        "seeds": ", ".join(f"{seed}: {value:.2f}" for seed, value in values.items()),
    }


def pooled_intervals(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Return a 95 % interval of each effect by least squares with seeds as blocks (statsmodels).

    One row a seed and column of `table` a cell; the effects are those of `subsets`, in its order.
    All cells and effects share one error variance, estimated with (n - 1)(2^k - 1) degrees of
    freedom: narrower than Student's over seeds, and right only if the errors of all cells vary
    alike, which errors near 0 % do not. NaN where there are fewer than two seeds.
    """
    chosen = subsets(len(str(table.columns[0])))
    if len(table) < 2:
        return [(np.nan, np.nan)] * len(chosen)
    from statsmodels.regression.linear_model import OLS

    cells = [str(one) for one in table.columns]
    halves = np.column_stack([signs_of(cells, one) / 2 for one in chosen])
    blocks = np.repeat(np.eye(len(table)), len(cells), axis=0)
    design = np.hstack([np.tile(halves, (len(table), 1)), blocks])
    fitted = OLS(table.to_numpy().ravel(), design).fit()
    bounds = np.asarray(fitted.conf_int(alpha=1 - LEVEL))
    return [(float(low), float(high)) for low, high in bounds[: len(chosen)]]


def _moved(study: Factorial) -> pd.DataFrame:
    rows = []
    for one in study.measured:
        table = study.table(one.name).to_numpy()
        seen = np.log(table) if one.logarithmic else table
        for number, factor in enumerate(study.factors):
            kinds = {
                "main": signs_of(study.cells, [number]) * 2.0 / len(study.cells),
                "alone": _between(study, number, alone=True),
            }
            for kind, weights in kinds.items():
                effect = seen @ weights
                interval = t_interval(effect.mean(), effect.std(ddof=1), len(effect))
                bounds = [float(bound) for bound in (effect.mean(), *interval)]
                shown = [float(np.exp(bound)) for bound in bounds] if one.logarithmic else bounds
                rows.append((factor.name, one.name, factor.aim == one, kind, *shown, len(effect)))
    columns = ["factor", "mediator", "aimed", "effect", "mean", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def _summary(study: Factorial) -> pd.DataFrame:
    rows = [
        _summary_row(study.members[study.members[CELLS] == cell], cell, study.cell_name(cell))
        for cell in study.cells
    ]
    if len(study.twins):
        rows.append(_summary_row(study.twins, TWIN, "residual twin, nothing changed"))
    return pd.DataFrame(rows)


def _summary_row(part: pd.DataFrame, cell: str, name: str) -> dict[str, Any]:
    return {
        "cell": cell,
        "name": name,
        "network": str(part["network"].iloc[0]) if len(part) else "",
        **error_columns(part),
        **mediator_columns(part),
    }


def error_columns(part: pd.DataFrame) -> dict[str, Any]:
    """Return n, mean, sd, lowest, highest (percent of training error) and diverged of members."""
    errors = part["error"].dropna()
    return {
        "n": len(errors),
        "mean": float(errors.mean()),
        "sd": float(errors.std()),
        "lowest": float(errors.min()),
        "highest": float(errors.max()),
        "diverged": int((part["status"] == "diverged").sum()),
    }


def mediator_columns(part: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each mediator of members, by its name."""
    return {one.name: mean_of(part[one.name], one) for one in MEDIATORS}
