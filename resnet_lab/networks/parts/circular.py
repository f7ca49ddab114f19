"""Circular padding: a map's opposite border around it, so that it has none (``plain-56-circular``).

Zero padding alone makes gradients shrink, most on small maps; this is the setting without it.
"""

from __future__ import annotations

from resnet_lab.networks.part import Padding
from resnet_lab.networks.registry import register

register(Padding(name="circular", token="circular", mode="circular"))
