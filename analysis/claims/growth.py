"""The growth of gradients per layer at initialisation: the number that three claims test.

Of weights with batch norm, of activations without.
"""

from __future__ import annotations

import numpy as np

from analysis.claims.evidence import Contrast, estimate, interval_text
from analysis.groups import Group
from analysis.layer_dynamics import MEMBER, at_step, growth

STAGE = 1
"""The stage whose growth is tested: the one with full-size maps, furthest from the loss."""


def plain_growth(group: Group) -> Contrast | None:
    """Return the log growth per layer of the deepest plain network at step 0, over its seeds.

    Growth is that of the weight-gradient norm towards the input over the convolutions of `STAGE`.
    None where no plain network has recordings of enough layers. Runs that diverged later count:
    step 0 lies before.
    """
    fits = group.of(growth(group.runs.layers, step=0))
    fits = fits[(fits["stage"] == STAGE) & (fits["family"] == "plain")]
    if fits.empty:
        return None
    fits = fits[fits["depth"] == fits["depth"].max()]
    fits = fits.assign(network=fits["short"], value=np.log(fits["growth"]))
    return estimate(fits, str(fits["network"].iloc[0]))


def activation_growth(group: Group) -> Contrast | None:
    """Return the log growth per layer of activation gradients in the deepest plain network.

    At step 0, from the last block's output back to the stem's, on average a layer; over seeds. None
    where there are no such recordings.
    """
    rows = at_step(group.runs.layers, "activation_gradient_norm", 0).sort_values("layer")
    ends = rows[rows["value"] > 0].groupby(MEMBER)[["layer", "value"]].agg(["first", "last"])
    layers = ends["layer", "last"] - ends["layer", "first"]
    ratios = ends["value", "first"] / ends["value", "last"]
    logs = ratios.map(np.log) / layers.where(layers > 0)
    found = group.of(logs.rename("value").dropna().reset_index())
    found = found[found["family"] == "plain"]
    if found.empty:
        return None
    deepest = found.loc[found["depth"] == found["depth"].max(), "short"].iloc[0]
    return estimate(found.assign(network=found["short"]), str(deepest))


def growth_text(found: Contrast, what: str = "gradient norm") -> str:
    """Return a growth with its interval as one line."""
    mean, low, high = (float(np.exp(one)) for one in (found.mean, found.low, found.high))
    return (
        f"{found.first} {what} grows x{mean:.3f} per layer towards the input at step 0, "
        f"{interval_text(low, high, found.n, 3)}"
    )
