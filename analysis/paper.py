"""Typed contents of `paper.yaml`: the papers' numbers, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Statistic = Literal["mean", "median", "best"]
"""Statistic of its training runs that a published error is."""


@dataclass(frozen=True)
class Rounded:
    """Counts as the paper prints them, rounded."""

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

    The error is the `statistic` of `n` training runs (None: one), `sd` their spread where the
    source gives it. `approximate` means read off a curve, `lower_bound` "more than". `primary`
    marks the one result of a network that is compared with runs. `decimals` is the number of
    decimals that the source prints.
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
    statistic: Statistic = "mean"
    primary: bool = False
    decimals: int = 2

    @property
    def text(self) -> str:
        """The error as a table shows it: ``8.75``, ``about 12``, ``> 60``, ``6.61 ± 0.16``.

        Statistics other than the mean are named, ``median 6.37 of 5``, and shown without a spread.
        """
        if self.lower_bound:
            return f"> {self.error:g}"
        if self.approximate:
            return f"about {self.error:g}"
        error = f"{self.error:.{self.decimals}f}"
        if self.statistic != "mean":
            return f"{self.statistic} {error} of {self.n}"
        return error + (f" ± {self.sd:.2f}" if self.sd is not None else "")


@dataclass(frozen=True)
class Protocol:
    """How a published error was obtained: a setting's name and the values that count as the same.

    `never` says why no run can follow this protocol; "" where runs can.
    """

    name: str
    settings: dict[str, tuple[object, ...]]
    never: str = ""


@dataclass(frozen=True)
class Variant:
    """A published error of a network that has no name in this project.

    `outcome` is a word for the result where the source gives no error.
    """

    network: str
    variant: str
    data: str
    source: str
    error: float | None = None
    top5_error: float | None = None
    n: int | None = None
    lower_bound: bool = False
    statistic: Statistic = "mean"
    outcome: str = ""
    decimals: int = 2

    @property
    def text(self) -> str:
        """The error, or else the top-5 error, as `Result.text`; the outcome where there is none."""
        error = self.top5_error if self.error is None else self.error
        if error is None:
            return self.outcome
        return Result(
            *(self.network, self.data, error, "", self.source),
            n=self.n,
            lower_bound=self.lower_bound,
            statistic=self.statistic,
            decimals=self.decimals,
        ).text


@dataclass(frozen=True)
class Statement:
    """A source's statement in words, `about` some networks; not a number of this project."""

    says: str
    about: str
    source: str


@dataclass(frozen=True)
class Paper:
    """Everything in `paper.yaml`. `gradient_growth` is the theory's value per layer (no unit)."""

    sources: dict[str, str]
    gradient_growth: float
    statements: dict[str, Statement]
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
    """Read the reference numbers; an unknown key raises TypeError."""
    text = Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return Paper(
        sources=content["sources"],
        gradient_growth=content["theory"]["gradient_growth"]["value"],
        statements={name: Statement(**row) for name, row in content["statements"].items()},
        architectures=tuple(_architecture(row) for row in content["architectures"]),
        results=tuple(Result(**row) for row in content["results"]),
        protocols={name: _protocol(name, row) for name, row in content["protocols"].items()},
        variants=tuple(Variant(**row) for row in content["variants"]),
    )
