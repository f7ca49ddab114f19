"""The rows of `resnet-lab networks`: size and cost of networks, and the twin of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.names import PAPER_NETWORKS
from resnet_lab.networks.spec import NetworkSpec

# layout -> (classes, image side in pixels) of its dataset in R
_DATA_OF_LAYOUT = {"cifar": (10, 32), "imagenet": (1000, 224)}
_HEADINGS = ("network", "layers", "parameters", "multiply-adds", "input", "twin")


def network_rows(
    names: Sequence[str] = (),
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each of `names`; without names, for every network of R and I.

    Classes and image side default to those of the layout: 10 and 32 pixels for CIFAR's,
    1000 and 224 for ImageNet's. A row has network (canonical name), layers, parameters,
    multiply_adds (for one image), input ("3x32x32"), twin, and twin_exact: whether the twin has
    the same parameters and multiply-adds. Raises `UserError` for an invalid name.
    """
    specs = [NetworkSpec.parse(name) for name in names or PAPER_NETWORKS]
    return [_row(spec, num_classes, in_channels, image_size) for spec in specs]


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Return `rows` as an aligned table; a twin that lacks weights is marked."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_line(row, widths) for row in cells)


def _row(
    spec: NetworkSpec, num_classes: int | None, in_channels: int, image_size: int | None
) -> dict[str, Any]:
    layout_classes, layout_size = _DATA_OF_LAYOUT[spec.layout]
    classes = layout_classes if num_classes is None else num_classes
    size = layout_size if image_size is None else image_size
    cost = complexity(spec, num_classes=classes, in_channels=in_channels, image_size=size)
    return {
        "network": spec.name,
        "layers": spec.depth,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "input": f"{in_channels}x{size}x{size}",
        "twin": spec.twin.name,
        "twin_exact": spec.twin_is_exact,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    mark = "" if row["twin_exact"] else " (without its shortcuts' weights)"
    return (
        row["network"],
        str(row["layers"]),
        f"{row['parameters']:,}",
        f"{row['multiply_adds']:,}",
        row["input"],
        row["twin"] + mark,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of the table: names left-aligned, numbers right-aligned."""
    numeric = [heading in ("layers", "parameters", "multiply-adds") for heading in _HEADINGS]
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "  ".join(padded).rstrip()
