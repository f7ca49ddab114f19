"""A strategy for hypothesis: every network that the rules allow."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from resnet_lab.networks.depths import IMAGENET_BLOCKS
from resnet_lab.networks.spec import (
    LARGEST_WIDTH,
    SMALLEST_WIDTH,
    Init,
    NetworkSpec,
    Norm,
    Ordering,
    Shortcut,
    Stem,
)


@st.composite
def specs(draw: st.DrawFn) -> NetworkSpec:
    layout = draw(st.sampled_from(["cifar", "imagenet"]))
    if layout == "imagenet":
        depth, block = draw(st.sampled_from(sorted(IMAGENET_BLOCKS)))
    else:
        block = draw(st.sampled_from(["basic", "bottleneck"]))
        depth = draw(st.integers(1, 220)) * (6 if block == "basic" else 9) + 2
    return NetworkSpec(
        depth=depth,
        shortcut=draw(st.sampled_from(get_args(Shortcut))),
        layout=layout,
        block=block,
        ordering=draw(st.sampled_from(get_args(Ordering))),
        stride_in=draw(st.sampled_from(["1x1", "3x3"] if block == "bottleneck" else ["1x1"])),
        stem=draw(st.sampled_from(get_args(Stem))),
        width=draw(st.floats(SMALLEST_WIDTH, LARGEST_WIDTH)),
        norm=draw(st.sampled_from(get_args(Norm))),
        init=draw(st.sampled_from(get_args(Init))),
    )
