"""One look for all figures, the same in each: hue, dash, shade and width say one thing.

Hue is the arm: orange plain, blue residual with option A, other hues for other shortcuts. Dashed
lines are plain too and solid ones residual, so that figures read in greyscale. Shade is the depth:
the deeper the darker, evenly in lightness. Width is the split: training error is bold, as the
argument rests on it, validation and test error are thin. Plain is left, residual right. Every
figure is one column wide and is printed at that size, with no text below 6.5 points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from analysis.groups import Group, split_groups
from resnet_lab.files import user_path
from resnet_lab.runs.frames import Runs

COLUMN_WIDTH = 3.3
"""Inches: the width of one column. Every figure is drawn at this width and never shrunk."""
FORMATS = ("png", "svg", "pdf")
PNG_DPI = 300
LEGEND_SIZE = 6.5
"""Points: the smallest text of a figure."""

RC: Any = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "figure.titlesize": 6.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": LEGEND_SIZE,
    "legend.title_fontsize": LEGEND_SIZE,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "resnet_lab",
    "pdf.fonttype": 42,
}

ANCHORS = {8: 0.0, 20: 0.2, 32: 0.37, 44: 0.53, 56: 0.68, 110: 0.84, 152: 0.9, 1202: 1.0}
"""Where depths lie on the scale of shades; others are interpolated on the logarithm of depth."""
LIGHTEST, DARKEST = 70.0, 22.0
"""CIELAB lightness of the shallowest and the deepest network's colour, of 100."""

FAMILY_STYLE: Mapping[str, Any] = {"plain": "--", "residual": "-"}
"""Line style of an arm, wherever one line stands for one network."""


class _Arms(dict[str, str]):
    """A style for each of the paper's arms, with a default for all other shortcuts."""

    def __init__(self, other: str, **known: str) -> None:
        super().__init__(known)
        self.other = other

    def __missing__(self, arm: str) -> str:
        return self.other.format(arm)


ARM_COLOUR = _Arms("#CC79A7", none="#D55E00", A="#0072B2", B="#009E73", C="#56B4E9")
ARM_MARKER = _Arms("v", none="o", A="s", B="^", C="D")
ARM_NAME = _Arms("residual, {}", none="plain", **{one: f"residual, option {one}" for one in "ABC"})
ARM_STYLE = _Arms(FAMILY_STYLE["residual"], none=FAMILY_STYLE["plain"])
BOLD, THIN = 1.9, 0.9
SPLIT_WIDTH = {"train": BOLD, "validation": THIN, "test": THIN}
"""Width of the line of an error, points."""
FAMILIES = ("plain", "residual")
CHARACTER = 0.53
"""Mean width of a character, as a fraction of the font size."""
LABEL_CHARACTERS = 66
"""Most characters in a line of the text above a figure of one column."""
MAP = "viridis"
"""Colours of layer maps: lightness rises with the value."""
THEORY_COLOUR = "0.35"
ERROR_TICKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Percent: ticks of errors that are logarithmic above 1."""

P = ParamSpec("P")
T = TypeVar("T")


def arms(shortcuts: Iterable[str]) -> list[str]:
    """Return the arms among `shortcuts`, the paper's first."""
    found = set(shortcuts)
    return [one for one in ARM_NAME if one in found] + sorted(found - set(ARM_NAME))


@cache
def colour(arm: str, depth: int) -> tuple[float, float, float]:
    """Return a network's colour (red, green, blue in 0..1): the arm's hue in the depth's shade."""
    place = float(np.interp(np.log(depth), np.log(list(ANCHORS)), list(ANCHORS.values())))
    wanted = LIGHTEST + place * (DARKEST - LIGHTEST)
    base = np.array(to_rgb(ARM_COLOUR[arm]))
    # Towards white or black until the lightness is right; it rises with the share of white.
    low, high = -1.0, 1.0
    for _ in range(30):
        share = (low + high) / 2
        low, high = (share, high) if lightness(_mixed(base, share)) < wanted else (low, share)
    red, green, blue = _mixed(base, low)
    return float(red), float(green), float(blue)


def _mixed(base: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Mix a colour with white (share above 0) or black (below 0)."""
    return base + share * (1 - base) if share > 0 else base * (1 + share)


def lightness(rgb: Sequence[float] | NDArray[np.float64]) -> float:
    """Return a colour's CIELAB lightness L*, 0 to 100 (sRGB, white point D65)."""
    parts = np.asarray(rgb, dtype=float)
    linear = np.where(parts > 0.04045, ((parts + 0.055) / 1.055) ** 2.4, parts / 12.92)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16 if luminance > 216 / 24389 else luminance * 24389 / 27


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Run a drawing function with this module's style, whatever matplotlib's settings are.

    Inside, the settings are matplotlib's defaults and `RC`; they are restored afterwards.
    """

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.style.context(["default", RC]):
            return function(*args, **kwargs)

    return inside


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) without a window or global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def describe(figure: Figure, label: str) -> None:
    """Write above a figure which data and recipe its runs share."""
    characters = int(LABEL_CHARACTERS * figure.get_figwidth() / COLUMN_WIDTH)
    text = textwrap.fill(plain_text(label), characters)
    figure.suptitle(text, color="0.35", x=0.01, ha="left")


def plain_text(text: str) -> str:
    """Return text escaped so that matplotlib does not read it as mathematics."""
    return text.replace("$", r"\$")


def iteration_axis(axes: Axes, last: float) -> None:
    """Scale an axis of iterations from 0 to `last`; many are labelled in thousands (k)."""
    axes.set_xlim(0, last)
    if last >= 10_000:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
    axes.set_xlabel("iterations")


def step_ticks(last: float) -> list[int]:
    """Return 0 and powers of ten up to `last`; every second power where there are many."""
    powers = [10**power for power in range(7) if 10**power <= last]
    return [0, *(powers if len(powers) < 5 else powers[::2])]


def log_step_axis(axes: Axes, last: float) -> None:
    """Scale an axis of steps as log(1 + step), so that it includes step 0."""
    axes.set_xscale("function", functions=(np.log1p, np.expm1))
    axes.set_xlim(0, max(last, 1))
    ticks = step_ticks(last)
    axes.set_xticks(ticks, [_step_text(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("step, log(1 + step) axis")


def _step_text(step: int) -> str:
    return f"{step // 1000}k" if step >= 1000 else str(step)


def legend_below(axes: Axes, handles: Sequence[Artist], columns: int, title: str = "") -> None:
    """Put a panel's legend under its x label, where it covers no data."""
    axes.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.26),
        ncols=columns,
        title=title or None,
        columnspacing=0.9,
        handlelength=1.4,
    )


def columns_for(labels: Sequence[str], most: int, handle: float = 0.3) -> int:
    """Return how many legend columns, `most` at most, fit into a column's width.

    Args:
        labels: the legend's texts.
        most: largest number of columns.
        handle: inches that an entry needs beside its text.
    """
    longest = max((len(label) for label in labels), default=1)
    inches = longest * CHARACTER * LEGEND_SIZE / 72 + handle
    return max(1, min(most, int(COLUMN_WIDTH / inches)))


def figure_legend(
    figure: Figure, handles: Sequence[Artist], most: int = 3, title: str = ""
) -> None:
    """Put a legend for all panels under a figure, in as many columns as fit."""
    labels = [str(one.get_label()) for one in handles]
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns_for(labels, most),
        title=title or None,
        columnspacing=0.9,
        handlelength=1.8,
    )


def panels_legend(
    figure: Figure,
    panels: Iterable[Axes],
    most: int = 2,
    title: str = "",
    replaced: Mapping[str, Artist] | None = None,
) -> None:
    """Put a legend of what panels show under a figure, each label once.

    `replaced` maps labels to handles that replace theirs.
    """
    entries: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, (replaced or {}).get(label, handle))
    figure_legend(figure, list(entries.values()), most, title)


def batches_text(group: Group) -> str:
    """Return what a group's training error is measured on, in words."""
    return "mini-batches" if group.settings["augment"] == "none" else "augmented mini-batches"


def seeds_text(counts: Iterable[float]) -> str:
    """Return ``n = 3``, or ``n = 2 to 3`` where counts of seeds differ."""
    seen = sorted({int(count) for count in counts})
    return f"n = {' to '.join(str(one) for one in dict.fromkeys([seen[0], seen[-1]]))}"


def log_value_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, showing at least a factor of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    widen = max(1.0, (10 * low / high) ** 0.5)
    axes.set_ylim(low / widen, high * widen)


def error_axis(axes: Axes, highest: float) -> list[float]:
    """Scale errors (percent) linearly from 0 to 1 and logarithmically above; return the ticks."""
    highest = max(1.0, highest)
    ticks = [*(one for one in ERROR_TICKS if one < highest)]
    ticks.append(min(one for one in ERROR_TICKS if one >= highest))
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.5)
    axes.set_ylim(-0.15, 1.15 * ticks[-1])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    return ticks


def outer_labels_only(panels: Sequence[Axes]) -> None:
    """Keep the y label of only the first of the panels that share an axis."""
    for axes in panels[1:]:
        axes.set_ylabel("")


def of_main_group(
    draw: Callable[[Group], Figure | None],
) -> Callable[[Runs], Figure | None]:
    """Return a function that draws the largest group of alike runs.

    It returns None where there is none, or where its runs lack what the figure shows.
    """

    def plot(runs: Runs) -> Figure | None:
        groups = split_groups(runs)
        return draw(groups[0]) if groups else None

    return plot


@styled
def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as one PNG file and return its path."""
    path = user_path(path)
    figure.savefig(path, dpi=PNG_DPI)
    return path


@styled
def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png``, ``.svg`` and ``.pdf`` (no date inside: same figure, same bytes)."""
    stem = user_path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in FORMATS]
    for path in paths:
        if path is not paths[0]:
            figure.set_layout_engine("none")  # reuse the first layout: it takes most time
        metadata = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[
            path.suffix[1:]
        ]
        figure.savefig(path, dpi=PNG_DPI, metadata=metadata)
    return paths
