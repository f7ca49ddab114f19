"""The branch unchanged: y = after(F(x) + s(x))."""

from __future__ import annotations

from resnet_lab.networks.part import Branch
from resnet_lab.networks.registry import register

register(Branch(name="unscaled", token="unscaled"))
