"""Published effects, the reference for the power of undecided verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.claims.contrast import Contrast
from analysis.groups import Group
from analysis.paper import Result, load_paper


@dataclass(frozen=True)
class Published:
    """A published difference of `first` minus `second`, points of test error.

    `sd` is the spread of one difference between seeds; None where the source gives none.
    """

    first: str
    second: str
    effect: float
    sd: float | None
    source: str

    @property
    def text(self) -> str:
        """The difference in words."""
        return (
            f"{self.first} minus {self.second} is {self.effect:.2f} points in {self.source} (test "
            "error)"
        )


def published(group: Group, found: Contrast) -> Published | None:
    """Return a source's difference between a contrast's networks; None where no source has both.

    Sources with both spreads come first. Recipes may differ: it is a size, not a prediction.
    """
    names = group.members.drop_duplicates("short").set_index("short")["network"]
    first, second = (_results(str(names[one]), group) for one in (found.first, found.second))
    pairs = [_published(one, two) for one in first for two in second if one.source == two.source]
    return min(pairs, key=lambda pair: pair.sd is None, default=None)


def _results(network: str, group: Group) -> list[Result]:
    return [
        one
        for one in load_paper().results
        if one.network.lower() == network.lower()
        and one.data == group.settings["data"]
        and not (one.lower_bound or one.approximate)
    ]


def _published(first: Result, second: Result) -> Published:
    known = [one.sd for one in (first, second) if one.sd is not None]
    return Published(
        first=first.network,
        second=second.network,
        effect=first.error - second.error,
        sd=float(np.hypot(known[0], known[1])) if len(known) == 2 else None,
        source=first.source,
    )
