"""Zero padding, as in R and all its reimplementations."""

from __future__ import annotations

from resnet_lab.networks.part import Padding
from resnet_lab.networks.registry import register

register(Padding(name="zeros", token="zeropad", mode="zeros"))
