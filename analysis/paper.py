"""The papers' numbers, typed: what `paper.yaml` holds, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Rounded:
    """Counts as the paper prints them, to few digits."""

    source: str
    parameters: float | None = None
    multiply_adds: float | None = None


@dataclass(frozen=True)
class Architecture:
    """One network's exact counts at the image size and classes of `data`."""

    network: str
    data: str
    parameters: int
    source: str
    multiply_adds: int | None = None
    rounded: Rounded | None = None


@dataclass(frozen=True)
class Result:
    """One published error in percent: CIFAR's test error, ImageNet's validation error.

    `sd` over `n` training runs where the source gives it; `median` says that the error is their
    median. `approximate` is read off a curve, `lower_bound` means "more than". `primary` marks a
    network's one result that is set beside runs.
    """

    network: str
    data: str
    error: float
    protocol: str
    source: str
    top5_error: float | None = None
    sd: float | None = None
    n: int | None = None
    approximate: bool = False
    lower_bound: bool = False
    median: bool = False
    primary: bool = False

    @property
    def text(self) -> str:
        """The error as a table shows it, e.g. ``8.75``, ``about 12``, ``> 60``, ``6.61 ± 0.16``."""
        if self.lower_bound:
            return f"> {self.error:g}"
        if self.approximate:
            return f"about {self.error:g}"
        return f"{self.error:.2f}" + (f" ± {self.sd:.2f}" if self.sd is not None else "")


@dataclass(frozen=True)
class Protocol:
    """How a published error was obtained: a setting's name and the values that count as the same.

    `never` says why no run can have been obtained so; "" where one can.
    """

    name: str
    settings: dict[str, tuple[object, ...]]
    never: str = ""


@dataclass(frozen=True)
class Variant:
    """A published error of a network that no name of this project's can say."""

    network: str
    variant: str
    data: str
    source: str
    error: float | None = None
    top5_error: float | None = None
    lower_bound: bool = False


@dataclass(frozen=True)
class Paper:
    """Everything in `paper.yaml`. `gradient_growth` is the theory's value per layer (no unit)."""

    sources: dict[str, str]
    gradient_growth: float
    architectures: tuple[Architecture, ...]
    results: tuple[Result, ...]
    protocols: dict[str, Protocol]
    variants: tuple[Variant, ...]

    def result(self, network: str, data: str) -> Result | None:
        """The published error to set beside a run of `network` on `data`, or None."""
        for row in self.results:
            if row.primary and row.data == data and row.network.lower() == network.lower():
                return row
        return None


def _architecture(row: dict[str, Any]) -> Architecture:
    rounded = row.get("rounded")
    return Architecture(**{**row, "rounded": Rounded(**rounded) if rounded else None})


def _protocol(name: str, row: dict[str, Any]) -> Protocol:
    settings = {
        key: tuple(value) if isinstance(value, list) else (value,)
        for key, value in row.items()
        if key != "never"
    }
    return Protocol(name, settings, row.get("never", ""))


@cache
def load_paper() -> Paper:
    """Read the reference numbers; a key that the types do not know is a TypeError."""
    text = Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return Paper(
        sources=content["sources"],
        gradient_growth=content["theory"]["gradient_growth"]["value"],
        architectures=tuple(_architecture(row) for row in content["architectures"]),
        results=tuple(Result(**row) for row in content["results"]),
        protocols={name: _protocol(name, row) for name, row in content["protocols"].items()},
        variants=tuple(Variant(**row) for row in content["variants"]),
    )
