"""The lines of a figure, one a network, in the order and style that all figures share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import ARM_MARKER, colour, plain_text

NETWORK = ["family", "depth", "shortcut", "short"]
"""Columns that identify the network of a row in a figure's frame."""


@dataclass(frozen=True)
class Line:
    """One network's points; columns other than `NETWORK` depend on the figure."""

    family: str
    depth: int
    shortcut: str
    short: str
    points: pd.DataFrame

    @property
    def colour(self) -> tuple[float, float, float]:
        """The colour of the network: its arm's hue in its depth's shade."""
        return colour(self.shortcut, self.depth)

    @property
    def sparse_marker(self) -> dict[str, Any]:
        """Marker arguments that tell options B and C from A where lines carry no markers."""
        marker = ARM_MARKER[self.shortcut] if self.shortcut in ("B", "C") else ""
        return {"marker": marker, "markevery": 0.12, "markersize": 4}

    @property
    def seeds(self) -> int:
        """Number of seeds that the points are means of."""
        return int(self.points["n"].max())

    @property
    def label(self) -> str:
        """The network and its number of seeds, for a legend."""
        return plain_text(f"{self.short} (n = {self.seeds})")


def lines(table: pd.DataFrame) -> Iterator[Line]:
    """Yield the networks of a figure's frame: plain first, by depth, then by shortcut."""
    for key, points in table.groupby(NETWORK):
        family, depth, shortcut, short = key
        yield Line(str(family), int(str(depth)), str(shortcut), str(short), points)


def band(axes: Axes, line: Line, x: str, alpha: float = 0.15) -> None:
    """Shade from the lowest to the highest seed, where there is more than one."""
    if line.seeds > 1:
        points = line.points
        axes.fill_between(
            points[x],
            points["low"],
            points["high"],
            color=line.colour,
            alpha=alpha,
            linewidth=0,
        )
