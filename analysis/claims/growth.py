"""Growth of gradients per layer at initialisation, which three claims test.

With batch norm: weight gradients, in every stage. Without: activation gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.claims.claim import ALPHA
from analysis.claims.contrast import Contrast, estimate, interval_of
from analysis.groups import Group
from analysis.layer_dynamics import MEMBER, at_step, growth
from analysis.statistics import t_interval


@dataclass(frozen=True)
class Growth:
    """The log growth per layer of one network over its seeds.

    `overall` is the mean over the stages that could be fitted. `stages` maps each of them to its
    growth, with an interval that is not corrected for the number of stages.
    """

    overall: Contrast
    stages: dict[int, Contrast]

    @property
    def alone(self) -> list[Contrast]:
        """Every stage with uncorrected intervals, for a rule that all stages must meet."""
        return list(self.stages.values())

    @property
    def joint(self) -> list[Contrast]:
        """Every stage with intervals that hold jointly, for a rule that one stage can break."""
        return [together(one, len(self.stages)) for one in self.stages.values()]


def together(found: Contrast, comparisons: int) -> Contrast:
    """Widen an interval so that `comparisons` of them hold jointly at 1 - ALPHA (Bonferroni)."""
    low, high = t_interval(found.mean, found.sd, found.n, 1 - ALPHA / comparisons)
    return replace(found, low=float(low), high=float(high), comparisons=comparisons)


def plain_growth(group: Group) -> Growth | None:
    """Return the growth in every stage of the deepest plain network at step 0, over its seeds.

    Growth is that of the weight-gradient norm towards the input over the convolutions of a stage.
    None where no plain network has recordings of enough layers. Runs that diverged later count, as
    step 0 precedes that.
    """
    fits = group.of(growth(group.runs.layers, step=0))
    fits = fits[fits["family"] == "plain"]
    if fits.empty:
        return None
    fits = fits[fits["depth"] == fits["depth"].max()]
    fits = fits.assign(network=fits["short"], value=np.log(fits["growth"]))
    return _over_stages(fits)


def _over_stages(fits: pd.DataFrame) -> Growth:
    """Summarise one network's growths: columns network, seed, stage, value."""
    network = str(fits["network"].iloc[0])
    means = fits.groupby(["network", "seed"])["value"].mean().reset_index()
    stages = {int(str(key)): estimate(part, network) for key, part in fits.groupby("stage")}
    return Growth(estimate(means, network), stages)


def activation_growth(group: Group) -> Contrast | None:
    """Return the log growth per layer of activation gradients in the deepest plain network.

    Over seeds, of `activation_growths`. None where there are no such recordings.
    """
    found = group.of(activation_growths(group.runs.layers))
    found = found[found["family"] == "plain"]
    if found.empty:
        return None
    deepest = found.loc[found["depth"] == found["depth"].max(), "short"].iloc[0]
    return estimate(found.assign(network=found["short"]), str(deepest))


def activation_growths(layers: pd.DataFrame) -> pd.DataFrame:
    """Return each member's log growth per layer of activation gradients at step 0.

    From the last block's output back to the stem's, mean per layer. Columns: run, network, value.
    """
    rows = at_step(layers, "activation_gradient_norm", 0).sort_values("layer")
    ends = rows[rows["value"] > 0].groupby(MEMBER)[["layer", "value"]].agg(["first", "last"])
    if ends.empty:
        return pd.DataFrame(columns=[*MEMBER, "value"])
    between = ends["layer", "last"] - ends["layer", "first"]
    ratios = ends["value", "first"] / ends["value", "last"]
    logs = ratios.map(np.log) / between.where(between > 0)
    return logs.rename("value").dropna().reset_index()


def growth_text(found: Contrast, what: str = "gradient norm") -> str:
    """Return a growth with its interval as one line."""
    return (
        f"{found.first} {what} grows x{np.exp(found.mean):.3f} per layer towards the input at "
        f"step 0, {interval_of(found, '.3f', np.exp)}"
    )


def stages_text(found: Growth, notes: Sequence[str] = ()) -> str:
    """Return every stage's growth as one sentence; `notes` may describe each stage's maps."""
    said = notes or [""] * len(found.stages)
    texts = [
        f"stage {stage}{note} x{np.exp(one.mean):.3f}" + (f" {_bounds(one)}" if one.n > 1 else "")
        for (stage, one), note in zip(found.stages.items(), said, strict=True)
    ]
    return f" By stage: {', '.join(texts)}."


def _bounds(found: Contrast) -> str:
    return f"[{np.exp(found.low):.3f}, {np.exp(found.high):.3f}]"
