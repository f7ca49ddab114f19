"""Answer of a factorial study: which change is sufficient, which necessary, which undecided.

The rules judge cells against the residual twin in the reference's settings, paired by seed, at the
claims' own strictness (`analysis.statistics.deciding_level`):

- a cell is *cured* if plain minus twin training error lies below `CURED`, *not cured* if above it,
  else *open*; also where it has no runs or one seed;
- a change is *sufficient* if the cell with it alone is cured, *not sufficient* if that cell is not;
- a change is *necessary* if no cell without it is cured (all are decided) and some cell with it is;
  *not necessary* if some cell without it is cured;
- all else is *undecided*; and nothing is judged unless the reference itself is not cured, as
  without degradation there is nothing to explain.

Of the comparisons of which any one is enough (some cell is cured) the intervals hold together
(Bonferroni); where all must hold, each keeps its own 95 %. So "necessary" and "sufficient" speak of
these factors at these levels: another change, not in the design, may cure too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.claims.contrast import Contrast, contrast, interval_of
from analysis.factorial import CELLS, TWIN, Factor, Factorial
from analysis.text import listed

CURED = 5.0
"""Percentage points of training error within which a plain network counts as cured: a tenth of what
56 layers cost on digits (58 points, README)."""

State = Literal["cured", "not cured", "open"]
Judgement = Literal["yes", "no", "undecided", "not judged"]


@dataclass(frozen=True)
class Role:
    """What a study says of one factor, with the reason for each judgement."""

    factor: Factor
    sufficient: Judgement
    why_sufficient: str
    necessary: Judgement
    why_necessary: str


def against_twin(study: Factorial, cell: str, comparisons: int = 1) -> Contrast | None:
    """Return a cell's training error minus the twin's, paired by seed; None without a common seed.

    `comparisons` > 1 widens the interval, so that this many hold jointly (Bonferroni).
    """
    members = pd.concat([study.members[study.members[CELLS] == cell], study.twins])
    values = members[[CELLS, "seed", "error", "images"]].dropna(subset=["error"])
    values = values.set_axis(["network", "seed", "value", "images"], axis=1)
    return contrast(values, cell, TWIN, comparisons)


def state(study: Factorial, cell: str, comparisons: int = 1) -> State:
    """Return whether a cell is cured; "open" where its seeds do not decide."""
    found = against_twin(study, cell, comparisons)
    return "open" if found is None else state_of(found)


def state_of(found: Contrast) -> State:
    """Return the state of a network whose training error minus the twin's is `found`."""
    if found.below(CURED):
        return "cured"
    return "not cured" if found.above(CURED) else "open"


def unjudged(study: Factorial) -> str:
    """Return why nothing can be judged, in words; "" where it can."""
    if study.twins["error"].isna().all():
        return "no residual twin with the reference's settings has come to its end"
    found = against_twin(study, study.reference)
    if found is None:
        return "the reference and its twin have no seed in common"
    if state(study, study.reference) == "not cured":
        return ""
    return (
        f"the reference is not shown to be worse than its twin by more than {CURED:g} points "
        f"({found.mean:.1f} points, {_interval(found)})"
    )


def _interval(found: Contrast) -> str:
    """Return the interval as text, and whether it excludes the margin without deciding."""
    few = found.excluded(CURED) and state_of(found) == "open"
    return interval_of(found, ".1f") + (", too few seeds to decide by it" if few else "")


def roles(study: Factorial) -> list[Role]:
    """Return the judgements of all factors, in their order."""
    reason = unjudged(study)
    if reason:
        return [Role(one, "not judged", reason, "not judged", reason) for one in study.factors]
    return [
        Role(one, *_sufficient(study, number), *_necessary(study, number))
        for number, one in enumerate(study.factors)
    ]


def _sufficient(study: Factorial, number: int) -> tuple[Judgement, str]:
    cell = "".join("1" if one == number else "0" for one in range(len(study.factors)))
    found = against_twin(study, cell)
    if found is None:
        return "undecided", f"no seed with {study.cell_name(cell)} alone"
    answers: dict[State, Judgement] = {"cured": "yes", "not cured": "no", "open": "undecided"}
    text = f"alone {found.mean:.1f} points above the twin, {_interval(found)}"
    return answers[state(study, cell)], text


def _necessary(study: Factorial, number: int) -> tuple[Judgement, str]:
    without, along = (
        [cell for cell in study.cells if cell[number] == digit] for digit in ("0", "1")
    )
    name = study.factors[number].name
    others = _cured(study, without)
    if others:
        return "no", f"cured without {name}: {_named(study, others)}"
    open_cells = [cell for cell in without if state(study, cell) != "not cured"]
    if open_cells:
        return "undecided", f"not decided without {name}: {_named(study, open_cells)}"
    cured = _cured(study, along)
    if cured:
        return "yes", f"cured only with {name}: {_named(study, cured)}"
    return "undecided", "no combination is shown to cure"


def _cured(study: Factorial, cells: Sequence[str]) -> list[str]:
    """Return the cells that are cured, by intervals that hold together over `cells`."""
    return [cell for cell in cells if state(study, cell, len(cells)) == "cured"]


def _named(study: Factorial, cells: Sequence[str]) -> str:
    return listed([study.cell_name(cell) for cell in cells])


def answer(study: Factorial) -> str:
    """Return in words which changes are sufficient and necessary, with numbers and limits."""
    reason = unjudged(study)
    head = "Which change cures degradation?"
    if reason:
        return f"{head} Not judged: {reason}. {_limits(study)}"
    base = against_twin(study, study.reference)
    assert base is not None
    start = (
        f"With nothing changed the plain network has {base.mean:.1f} points more training error "
        f"than its residual twin ({interval_of(base, '.1f')}); cured means within {CURED:g} points."
    )
    return " ".join([head, start, *map(_role_text, roles(study)), *_best(study), _limits(study)])


def _role_text(role: Role) -> str:
    sufficient = {"yes": "sufficient", "no": "not sufficient"}
    necessary = {"yes": "necessary", "no": "not necessary"}
    return (
        f"{role.factor.name}: {sufficient.get(role.sufficient, 'sufficiency undecided')} "
        f"({role.why_sufficient}), {necessary.get(role.necessary, 'necessity undecided')} "
        f"({role.why_necessary})."
    )


def _best(study: Factorial) -> list[str]:
    """Return the sentence on the cell with the lowest mean error."""
    rows = study.summary[study.summary["cell"] != TWIN].dropna(subset=["mean"])
    best = rows.sort_values("mean", kind="stable").iloc[0]
    found = against_twin(study, str(best["cell"]))
    if found is None:
        return []
    return [
        f"Lowest: {best['name']}, {best['mean']:.1f} % training error, {found.mean:.1f} points "
        f"above the twin ({interval_of(found, '.1f')})."
    ]


def _limits(study: Factorial) -> str:
    """Name missing cells, seeds left out, diverged runs and what intervals do not correct for."""
    texts = []
    if study.missing:
        texts.append(f"Cells without a finished run: {_named(study, study.missing)}.")
    if study.left_out:
        seeds = listed(study.left_out)
        texts.append(f"Effects leave out seeds that lack a cell: {seeds}.")
    if study.diverged:
        texts.append(f"{study.diverged} runs diverged and count as 100 % error.")
    if study.seeds:
        texts.append(
            f"Effects rest on {len(study.seeds)} seeds, each a block; intervals are not corrected "
            "for their number."
        )
    else:
        texts.append("No seed has all cells, so there are no effects.")
    return " ".join(texts)
