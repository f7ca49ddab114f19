"""Mediators: what a suspected cause of degradation does inside a network, one number a member.

Three causes are suspected of deep plain networks, and each leaves a trace of its own:

- explosion: the growth of the gradient norm a layer towards the input at step 0 (Yang et al. 2019);
- freeze: how far the stem still turns after the first updates (Wan et al. 2021);
- shattering: how alike the input gradients of neighbouring images are (Balduzzi et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.claims.thresholds import FIRST
from analysis.layer_dynamics import MEMBER, STEM, at_step, growth, travelled


@dataclass(frozen=True)
class Mediator:
    """The trace of one suspected cause.

    `name` is its column in `mediators`, `cause` what it belongs to, `label` its axis in figures.
    A mediator on a logarithmic scale is compared as a ratio, others as a difference.
    """

    name: str
    cause: str
    label: str
    logarithmic: bool = True


GROWTH = Mediator("growth", "explosion", "growth a layer, step 0")
ANGLE = Mediator("angle", "freeze", "angle of stem, radians")
CORRELATION = Mediator("gradient_correlation", "shattering", "gradient correlation", False)
MEDIATORS = (GROWTH, ANGLE, CORRELATION)

AIMS = {
    **dict.fromkeys(("activation", "padding"), GROWTH),
    **dict.fromkeys(("clip", "clip_scope", "optimizer", "trust_coefficient"), ANGLE),
    "init": CORRELATION,
}
"""Setting -> the mediator that it is meant to move. Whether it moves others too is measured."""


def mediators(layers: pd.DataFrame) -> pd.DataFrame:
    """Return every member's mediators; NaN where they were not recorded.

    Columns: run, network; growth (no unit: the factor by which weight gradients grow a layer
    towards the input at step 0, geometric mean over the stages; see `layer_dynamics.growth`); angle
    (radians that the stem travels from step 16 to the end, see `layer_dynamics.travelled`);
    gradient_correlation (no unit, at step 0).
    """
    found = pd.concat([_growth(layers), _angle(layers), _correlation(layers)], axis=1)
    names = [one.name for one in MEDIATORS]
    return found.reindex(columns=names).astype(float).rename_axis(MEMBER).reset_index()


def _growth(layers: pd.DataFrame) -> pd.Series[float]:
    fits = growth(layers, step=0)
    logs = fits.assign(log=np.log(fits["growth"].astype(float)))
    means = logs.groupby(MEMBER, observed=True)["log"].mean()
    return pd.Series(np.exp(means), name=GROWTH.name)


def _angle(layers: pd.DataFrame) -> pd.Series[float]:
    paths = travelled(layers, FIRST)
    return paths[paths["name"] == STEM].set_index(MEMBER)["angle"].rename(ANGLE.name)


def _correlation(layers: pd.DataFrame) -> pd.Series[float]:
    rows = at_step(layers, CORRELATION.name, 0)
    return rows.groupby(MEMBER, observed=True)["value"].mean().rename(CORRELATION.name)


def mean_of(values: pd.Series[float], one: Mediator) -> float:
    """Return the mean of a mediator over runs, geometric where it is logarithmic; NaN of none."""
    known = values.dropna()
    if known.empty:
        return float("nan")
    return float(np.exp(np.log(known).mean()) if one.logarithmic else known.mean())
