"""Doses of explosion: training errors of networks that differ in their activation alone.

The dose is the growth of activation gradients per layer that theory gives for the activation (Yang
et al. 2019), known before anything is trained; the growth measured at step 0 stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.cache import cached_by_runs
from analysis.claims.grouping import groups_across
from analysis.claims.growth import activation_growths
from analysis.groups import Group, split_groups
from analysis.search import apart_from_searches
from analysis.theory import growth_of
from resnet_lab.runs.frames import Runs

DOSES = 3
"""Fewest doses of a dose-response."""
LINEAR = 1.0
"""Growth of a linear network, whose error rises for another reason: it fits only what is linear."""


@dataclass(frozen=True, eq=False)
class Doses:
    """The plain networks of one depth under several doses, with their residual twins.

    `table` has one row a finished member: short, family, activation, seed, predicted and measured
    (growth a layer at step 0, of this member; measured is NaN where it was not recorded), error
    (final training error, percent).
    """

    group: Group
    depth: int
    table: pd.DataFrame

    @property
    def label(self) -> str:
        """The networks and what they share, in words."""
        return f"{self.depth} layers by activation: {self.group.label}"

    @cached_property
    def exploding(self) -> pd.DataFrame:
        """The rows whose dose is above that of a linear network."""
        return self.table[self.table["predicted"] > LINEAR]

    def errors(self, family: str) -> pd.DataFrame:
        """Return training errors, one row a seed and one column a dose, of seeds with all doses."""
        rows = self.exploding[self.exploding["family"] == family]
        return rows.pivot_table(index="seed", columns="predicted", values="error").dropna()

    def slopes(self) -> pd.DataFrame:
        """Return each seed's slope: points of training error per percent of growth a layer.

        Columns: network (the family and depth), seed, value. A least-squares line a seed over the
        predicted growth, in natural logarithms.
        """
        rows = []
        for family, name in (("plain", "plain"), ("residual", "resnet")):
            errors = self.errors(family)
            percent = 100 * np.log(errors.columns.to_numpy(dtype=float))
            for seed, values in zip(errors.index, errors.to_numpy(), strict=True):
                slope = float(np.polyfit(percent, values, 1)[0])
                rows.append((f"{name}-{self.depth}", int(seed), slope))
        return pd.DataFrame(rows, columns=["network", "seed", "value"])


def doses_in(group: Group) -> Doses | None:
    """Return the doses of a group across activations: its deepest plain networks that have them.

    None where theory gives no growth, without twins, or with fewer than `DOSES` doses above that of
    a linear network.
    """
    members = group.finished
    known = [growth_of(str(one), group.settings) for one in members["activation"]]
    members = members.assign(predicted=pd.Series(known, members.index, dtype=float))
    members = members.dropna(subset=["predicted"])
    members = members[members["shortcut"].isin(["none", "A"])]
    measured = activation_growths(group.runs.layers)
    measured = measured.assign(measured=np.exp(measured["value"].astype(float)))
    members = members.merge(
        measured[["run", "network", "measured"]], on=["run", "network"], how="left"
    )
    columns = ["short", "family", "activation", "seed", "predicted", "measured"]
    for depth in sorted(members["depth"].unique(), reverse=True):
        own = members[members["depth"] == depth]
        table = own[columns].assign(error=own["train_error"])
        found = Doses(group, int(depth), table.reset_index(drop=True))
        if all(found.errors(one).shape[1] >= DOSES for one in ("plain", "residual")):
            return found
    return None


@cached_by_runs
def split_doses(runs: Runs) -> list[Doses]:
    """Return every dose-response among runs."""
    runs = apart_from_searches(runs)
    groups = groups_across(runs, split_groups(runs), "activation")
    return [found for group in groups if (found := doses_in(group)) is not None]
