"""Circular padding: maps wrap around, so they have no border (``plain-56-circular``).

Zero padding by itself makes gradients shrink, most on small maps; this part removes that effect.
"""

from __future__ import annotations

from resnet_lab.networks.part import Padding
from resnet_lab.networks.registry import register

register(Padding(name="circular", token="circular", mode="circular"))
