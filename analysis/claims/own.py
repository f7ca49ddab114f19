"""The user's claims: the input of their functions, and verdicts from what they return."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Finding, Outcome
from analysis.claims.contrast import (
    TOO_FEW,
    Contrast,
    contrast,
    final_error,
    left_out,
    seeds_text,
    unsettled,
)
from analysis.claims.findings import POINTS, judge, points_finding, ratio_finding, value_finding
from analysis.claims.learning import settled, trained_seeds
from analysis.groups import Group
from resnet_lab.errors import UserError, suggest
from resnet_lab.parts.claims import OUTCOMES, OWN

ERRORS = ("train_error", "validation_error", "test_error")


@dataclass(frozen=True)
class AlikeRuns:
    """One group of runs alike in everything but depth, shortcut, seed and the claim's `across`.

    Frames are copies, with a column `short`: a network's name without the traits that the whole
    group shares ("plain-20" for plain-20-x0.5).

    Attributes:
        label: the group in words.
        settings: the settings that its runs share: data, iterations, lr, norm, width ...
    """

    label: str
    settings: Mapping[str, object]
    _group: Group

    @property
    def runs(self) -> pd.DataFrame:
        """One row a network and seed, finished or not: errors in percent, status, ..."""
        return self._group.members.copy()

    @property
    def metrics(self) -> pd.DataFrame:
        """Logged curves: step, epoch, split, metric, value; with seed, depth, shortcut, short."""
        return self._group.of(self._group.runs.metrics)

    @property
    def layers(self) -> pd.DataFrame:
        """Recordings: step, quantity, layer, name, stage, block, value; with seed, short, ..."""
        return self._group.of(self._group.runs.layers)

    def difference(
        self,
        first: str,
        second: str,
        values: str | pd.DataFrame = "train_error",
        *,
        ratio: bool = False,
        together: int = 1,
    ) -> Contrast | None:
        """Return `first` minus `second`, paired by seed; None where they share no finished seed.

        It has `mean`, `low`, `high` (a 95 % t interval; NaN with one seed), `n`, `sd`, and
        `above(x)` and `below(x)`: whether the seeds show a mean on that side of x.

        Args:
            first: a network, by its full or its short name.
            second: another one.
            values: a column of `runs`, of finished members; or a frame with columns network (the
                short name), seed and value.
            ratio: take logarithms of the values, which are above 0.
            together: number of comparisons, any of which decides: their intervals hold jointly.
        """
        table = self._values(values)
        if ratio:
            logs = np.log(table["value"].where(table["value"] > 0))
            table = table.assign(value=logs, images=0).dropna(subset=["value"])
        return contrast(table, self._short(first), self._short(second), together)

    def compare(
        self,
        first: str,
        second: str,
        values: str | pd.DataFrame = "train_error",
        *,
        above: float | None = None,
        within: float | None = None,
        ratio: bool = False,
        name: str = "",
        unit: str = "",
    ) -> Finding | None:
        """Return the finding on `first` minus `second`: supported above `above`, refuted below.

        None where the two share no finished seed: the claim is then not tested here. For errors,
        networks that learnt nothing and lost seeds are treated as in the project's claims.

        Args:
            first: see `difference`, as `second` and `values`.
            second: see there.
            values: see there.
            above: the threshold, in the unit of the values; by default 0, for a ratio 1.
            within: equivalent if the whole interval lies between this and its negative, for a
                ratio its inverse.
            ratio: compare `first` over `second`, of values above 0.
            name: name of the values, where they are not errors.
            unit: unit of the values.
        """
        found = self.difference(first, second, values, ratio=ratio)
        if found is None:
            return None
        edge, margin = (
            one if one is None or not ratio else float(np.log(one)) for one in (above, within)
        )
        outcome, reason = judge(found, edge or 0.0), ""
        if margin is not None and found.above(-margin) and found.below(margin):
            outcome = "equivalent"
        if outcome == "undecided":
            held = TOO_FEW if found.excluded(edge or 0.0) else "The interval holds the threshold"
            reason = f"{unsettled(found.n, held)}."
        if isinstance(values, str):
            name = name or values.replace("train_", "training_").replace("_", " ")
        if isinstance(values, str) and values in ERRORS:
            left, why = settled(outcome, [found], self._group)
            outcome, reason = left, why + (reason if left == outcome else "")
            unit = unit or POINTS
        return self.finding(outcome, found, reason, ratio=ratio, name=name or "value", unit=unit)

    def finding(
        self,
        outcome: Outcome,
        found: Contrast,
        reason: str = "",
        *,
        ratio: bool = False,
        name: str = "value",
        unit: str = "",
    ) -> Finding:
        """Return a finding with an outcome that you choose, and the numbers of a difference.

        Args:
            outcome: supported, refuted, equivalent, not under this recipe or undecided.
            found: the result of `difference`, with the same `ratio`.
            reason: why the outcome holds, in sentences; every seed's values are added.
            ratio: see `difference`.
            name: what was compared.
            unit: its unit.
        """
        if outcome not in OUTCOMES:
            raise UserError(f"unknown outcome '{outcome}'{suggest(outcome, OUTCOMES) or '.'}")
        seeds = "" if ratio else seeds_text(found, 2)
        said = f"{reason.strip()} {seeds[:1].upper()}{seeds[1:]}{'.' * bool(seeds)}".strip()
        if ratio:
            return ratio_finding(outcome, found, name, said + left_out(self._group))
        if unit == POINTS:
            return points_finding(outcome, found, name, said, self._group)
        return value_finding(outcome, found, name, unit, said + left_out(self._group))

    def _short(self, name: str) -> str:
        members = self._group.members
        whole = members.loc[members["network"] == name, "short"]
        return str(whole.iloc[0]) if len(whole) else name

    def _values(self, values: str | pd.DataFrame) -> pd.DataFrame:
        if not isinstance(values, str):
            return values
        members = self._group.finished
        if values in ERRORS:
            trained = trained_seeds(self._group, members)
            return final_error(trained, values.removesuffix("_error"))
        if values not in members:
            raise UserError(
                f"runs have no column '{values}'{suggest(values, map(str, members)) or '.'}"
            )
        frame = pd.DataFrame({"network": members["short"], "seed": members["seed"]})
        return frame.assign(value=pd.to_numeric(members[values])).dropna(subset=["value"])


def own_claims() -> tuple[Claim, ...]:
    """Return the claims of the user's files of parts, in the form of the project's claims."""
    return tuple(_guarded(one) for one in OWN.all().values())


def _guarded(claim: Claim) -> Claim:
    """Return a claim whose test takes a `Group` and raises `UserError` only."""

    def test(group: Group) -> Finding | None:
        try:
            found = claim.test(AlikeRuns(group.label, dict(group.settings), group))
            if not isinstance(found, Finding | None):
                raise UserError(
                    f"it returned {found!r}; return what group.compare or group.finding gives, or "
                    "None where the runs are missing"
                )
        except (Exception, SystemExit) as error:
            raise UserError(f"its function fails: {_where(claim, error)}") from error
        return found

    return replace(claim, test=test)


def _where(claim: Claim, error: BaseException) -> str:
    """Return file, line and message of an error in a claim's function."""
    code = claim.test.__code__
    frames = traceback.extract_tb(error.__traceback__)
    lines = [one.lineno for one in frames if one.filename == code.co_filename]
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{code.co_filename}: line {[code.co_firstlineno, *lines][-1]}: {kind}{error}"
