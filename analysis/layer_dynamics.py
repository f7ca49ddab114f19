"""Measures from recordings of layers: gradient growth, first against last layer, freezing.

Every function takes the tidy `layers` frame of `load_runs` (run, network, step, quantity, layer,
name, stage, block, value) and returns a frame. Layers are counted from the input, the stem is 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

FROZEN_BELOW = 1e-6
"""A relative gradient step lr*|g|/|w| below this is tiny: a million such steps in one direction
would be needed to change the weights by their own size. It ignores momentum, so it does not show
that a layer stands still: see `travelled`."""

FIT_NEEDS = 3
"""Smallest number of layers of a stage for a growth fit."""

MEMBER = ["run", "network"]
STEM = "stem.conv"


def at_step(layers: pd.DataFrame, quantity: str, step: int | None = None) -> pd.DataFrame:
    """Return the rows of one quantity at `step`; None means each member's last recorded step."""
    rows = layers[layers["quantity"] == quantity]
    if step is not None:
        return rows[rows["step"] == step]
    return rows[rows["step"] == rows.groupby(MEMBER)["step"].transform("max")]


def main_path_convs(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of convolutions inside blocks, without stem, projections and classifier."""
    return layers[layers["name"].str.fullmatch(r"stage\d+\.block\d+\.conv\d+")]


def main_path(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the weighted layers 1 to depth, without projections."""
    return layers[~layers["name"].str.contains(".shortcut.", regex=False)]


def growth(layers: pd.DataFrame, step: int = 0) -> pd.DataFrame:
    """Fit the growth of the weight-gradient norm per layer, towards the input, in each stage.

    The model is log|g| = intercept - layer * log(growth), by least squares over the convolutions
    of one stage of one member at `step`; so growth > 1 says that gradients grow from the loss
    towards the input, growth < 1 that they vanish. Columns: run, network, stage, layers (how many
    were fitted), growth (no unit), intercept (log of the norm). Stages with fewer than
    `FIT_NEEDS` layers, or with a norm that is not positive and finite, are left out.

    Yang et al. 2019: sqrt(pi / (pi - 1)) = 1.2112 for activation gradients of plain batch-norm
    networks that are wide and fully connected.
    """
    rows = main_path_convs(at_step(layers, "gradient_norm", step))
    rows = rows.assign(log=np.log(rows["value"].where(rows["value"] > 0)))
    fits = [
        (*key, len(stage), *_line(stage))
        for key, stage in rows.groupby([*MEMBER, "stage"], sort=False)
        if len(stage) >= FIT_NEEDS and np.isfinite(stage["log"]).all()
    ]
    return pd.DataFrame(fits, columns=[*MEMBER, "stage", "layers", "growth", "intercept"])


def _line(stage: pd.DataFrame) -> tuple[float, float]:
    """Return (growth, intercept) of one stage."""
    slope, intercept = np.polyfit(stage["layer"].astype(float), stage["log"], 1)
    return float(np.exp(-slope)), float(intercept)


def first_last_ratio(layers: pd.DataFrame, quantity: str = "gradient_norm") -> pd.DataFrame:
    """Return the stem's value over the last convolution's, one row a member and recorded step.

    Columns: run, network, step, first, last, ratio. Far above 1 at step 0: gradients explode
    towards the input. Far below 1: they vanish.
    """
    rows = main_path(layers[layers["quantity"] == quantity])
    convs = rows[~rows["name"].str.startswith("head.")].sort_values("layer")
    ends = convs.groupby([*MEMBER, "step"], sort=False)["value"].agg(["first", "last"])
    return ends.assign(ratio=ends["first"] / ends["last"]).reset_index()


def travelled(layers: pd.DataFrame, first: int) -> pd.DataFrame:
    """Return the angle that each layer of each member travels from step `first` to the end.

    The sum over steps of the angles by which the optimizer turned the weights (`update_angle`,
    momentum and weight decay included), by the trapezoid rule over recorded steps: an upper bound
    of the angle between the weights at the first and at the last of them. Columns: run, network,
    layer, name, angle (radians), start and end (the first and last recorded step used). Layers with
    fewer than two recordings from `first` on are left out.
    """
    rows = main_path(layers[layers["quantity"] == "update_angle"]).sort_values("step")
    rows = rows[rows["step"] >= first]
    paths = [
        (*key, float(np.trapezoid(one["value"], one["step"])), *one["step"].iloc[[0, -1]])
        for key, one in rows.groupby([*MEMBER, "layer", "name"], sort=False, observed=True)
        if len(one) > 1
    ]
    return pd.DataFrame(paths, columns=[*MEMBER, "layer", "name", "angle", "start", "end"])


def freezes(
    layers: pd.DataFrame, threshold: float = FROZEN_BELOW, until: int | None = None
) -> pd.DataFrame:
    """Return for each layer of each member when its gradient step became tiny, and for how long.

    Columns: run, network, layer, name, freeze_step (the first recorded step with a relative update
    below `threshold`; missing where there is none), lowest (the smallest relative update seen) and
    frozen_share (the share of recordings from freeze_step on that are below; 0 where never).
    `until` is the last step considered: late in training a small update can also mean that the
    network has converged and the learning rate was lowered.
    """
    rows = main_path(layers[layers["quantity"] == "relative_update"]).sort_values("step")
    rows = rows if until is None else rows[rows["step"] <= until]
    rows = rows.assign(below=rows["value"] < threshold)
    key = [*MEMBER, "layer", "name"]
    table = rows.groupby(key, sort=False).agg(lowest=("value", "min")).reset_index()
    first = rows[rows["below"]].groupby(key, sort=False)["step"].min().rename("freeze_step")
    table = table.merge(first.astype("Int64").reset_index(), how="left", on=key)
    later = rows.merge(table[[*key, "freeze_step"]].dropna(), on=key)
    later = later[later["step"] >= later["freeze_step"]]
    share = later.groupby(key, sort=False)["below"].mean().rename("frozen_share")
    table = table.merge(share.reset_index(), how="left", on=key)
    return table.fillna({"frozen_share": 0.0})
