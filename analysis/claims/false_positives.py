"""False-positive rates of verdicts, for seeds of five kinds: the table of docs/claims.md.

    python -m analysis.claims.false_positives            # write the table into docs/claims.md
    python -m analysis.claims.false_positives --print    # print it

Two networks whose trained seeds have the same mean error are compared by the rules of claim 1, from
runs to verdict: seeds that diverge or collapse are counted, the others are tested. Any verdict that
one network is better is wrong; each side is counted separately.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.claims.claim import ALPHA, Outcome
from analysis.claims.contrast import Contrast
from analysis.claims.findings import judge
from analysis.claims.learning import Lost
from analysis.claims.project.degradation import judge_losses
from analysis.statistics import t_interval
from analysis.text import markdown_table
from resnet_lab.lifecycle import end_with_the_reader

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

SEEDS = (2, 3, 5)
STUDIES = 20_000
LARGEST_SHARE = 0.05
"""Largest share of studies in which a verdict may take one wrong side."""

PAGE = Path(__file__).parents[2] / "docs/claims.md"
BEGIN, END = "<!-- false positives: begin -->", "<!-- false positives: end -->"
COLLAPSING = 0.1


def _gaussian(spread: float) -> Draw:
    return lambda rng, shape: rng.normal(0.0, spread, shape)


def _heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_t(2, shape)


def _exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.exponential(1.0, shape) - 1.0


def _lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.lognormal(0.0, 1.0, shape) - float(np.exp(0.5))


KINDS: dict[str, tuple[Draw, Draw, float]] = {
    "Gaussian": (_gaussian(1), _gaussian(1), 0.0),
    "heavy-tailed (t, 2 degrees of freedom)": (_heavy, _heavy, 0.0),
    "unequal variance (10 to 1)": (_gaussian(10), _gaussian(1), 0.0),
    "skewed, one arm (exponential; other 1/10)": (_exponential, _gaussian(0.1), 0.0),
    "skewed, one arm (lognormal; other 1/10)": (_lognormal, _gaussian(0.2), 0.0),
    "collapsing (1 in 10, one arm)": (_gaussian(1), _gaussian(1), COLLAPSING),
}
"""Kind of seeds -> errors of the deep arm, of the shallow arm, and share of deep seeds that
collapse."""


def sides(kind: str, n: int, studies: int = STUDIES, seed: int = 0) -> tuple[float, float]:
    """Return the share of studies with the verdict "supported", and that with "refuted"."""
    found = outcomes(kind, n, studies, seed)
    return found.count("supported") / studies, found.count("refuted") / studies


def by_t_alone(kind: str, n: int, studies: int = STUDIES, seed: int = 0) -> float:
    """Return the larger wrong side's share by Student's 95 % interval of all seeds."""
    deep, shallow, collapsed = _drawn(kind, n, studies, seed)
    differences = np.where(collapsed, deep + 65.0, deep) - shallow
    low, high = t_interval(differences.mean(axis=1), differences.std(axis=1, ddof=1), n)
    return float(max(np.mean(low > 0), np.mean(high < 0)))


def outcomes(kind: str, n: int, studies: int, seed: int = 0) -> list[Outcome]:
    """Return each study's verdict."""
    deep, shallow, collapsed = _drawn(kind, n, studies, seed)
    return [
        _outcome(one[~lost] - two[~lost], int(lost.sum()), n)
        for one, two, lost in zip(deep, shallow, collapsed, strict=True)
    ]


def _drawn(kind: str, n: int, studies: int, seed: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng([seed, n, list(KINDS).index(kind)])
    first, second, share = KINDS[kind]
    shape = (studies, n)
    return first(rng, shape), second(rng, shape), rng.random(shape) < share


def _outcome(differences: Floats, lost: int, n: int) -> Outcome:
    rates = [Lost("shallow", 0, 0, n), Lost("deep", 0, lost, n)]
    if len(differences) < 2:
        return judge_losses("undecided", None, rates)[0]
    found = contrast_of(differences)
    return judge_losses(judge(found), found, rates)[0]


def contrast_of(differences: Floats) -> Contrast:
    """Return the contrast of these differences between seeds."""
    n, mean, sd = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * sd / n**0.5
    return Contrast("deep", "shallow", mean, mean - half, mean + half, n, sd)


def table(studies: int = STUDIES) -> str:
    """Return the table as Markdown: percent of studies, the larger of the two wrong sides."""
    head = ["seeds", *(f"n = {n}" for n in SEEDS), *(f"t alone, n = {n}" for n in SEEDS)]
    rows = [
        [
            kind,
            *(f"{100 * max(sides(kind, n, studies)):.1f}" for n in SEEDS),
            *(f"{100 * by_t_alone(kind, n, studies):.1f}" for n in SEEDS),
        ]
        for kind in KINDS
    ]
    return markdown_table(head, rows)


def written(page: str, made: str) -> str:
    """Return the page with the table between its two marks replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Make the table, and write it into docs/claims.md or print it."""
    made = table()
    if "--print" in sys.argv[1:]:
        print(made)
    else:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    end_with_the_reader()
    main()
