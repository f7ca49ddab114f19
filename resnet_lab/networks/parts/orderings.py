"""The five orderings of I Figure 4, a to e."""

from __future__ import annotations

from resnet_lab.networks.part import Ordering
from resnet_lab.networks.registry import register

register(
    Ordering(name="original", token="postact", unit="WN", between="A", after="A"),
    Ordering(name="bn-after-addition", token="bnafter", unit="W", between="NA", after="NA"),
    Ordering(name="relu-before-addition", token="relubefore", unit="WNA", between=""),
    Ordering(name="relu-preactivation", token="relupre", enter="A", unit="WN", between="A"),
    Ordering(name="preactivation", token="preact", enter="NA", unit="W", between="NA"),
)
