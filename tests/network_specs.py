"""A strategy for hypothesis: every network that the rules allow."""

from __future__ import annotations

from typing import get_args

from hypothesis import assume
from hypothesis import strategies as st

from resnet_lab.networks.depths import IMAGENET_BLOCKS
from resnet_lab.networks.part import Branch, Norm
from resnet_lab.networks.registry import AXES, find, parts_of
from resnet_lab.networks.spec import LARGEST_WIDTH, SMALLEST_WIDTH, NetworkSpec, Stem


@st.composite
def values(draw: st.DrawFn, axis: str) -> str:
    part = draw(st.sampled_from(list(parts_of(axis).values())))
    if part.takes is None:
        return part.name
    return part.with_number(f"{draw(st.floats(*part.takes)):.3f}").name


@st.composite
def specs(draw: st.DrawFn) -> NetworkSpec:
    layout = draw(st.sampled_from(["cifar", "imagenet"]))
    if layout == "imagenet":
        depth, block = draw(st.sampled_from(sorted(IMAGENET_BLOCKS)))
    else:
        block = draw(st.sampled_from(["basic", "bottleneck"]))
        depth = draw(st.integers(1, 220)) * (6 if block == "basic" else 9) + 2
    chosen = {axis: draw(values(axis)) for axis in AXES}
    norm, branch = find(Norm, chosen["norm"]), find(Branch, chosen["branch"])
    assume(not (norm and branch and norm.zero and branch.zero))
    return NetworkSpec(
        depth=depth,
        layout=layout,
        block=block,
        stride_in=draw(st.sampled_from(["1x1", "3x3"] if block == "bottleneck" else ["1x1"])),
        stem=draw(st.sampled_from(get_args(Stem))),
        width=draw(st.floats(SMALLEST_WIDTH, LARGEST_WIDTH)),
        **chosen,
    )
