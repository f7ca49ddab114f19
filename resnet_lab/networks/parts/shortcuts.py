"""No shortcut, and the three options of R 3.3."""

from __future__ import annotations

from resnet_lab.networks.part import Shortcut
from resnet_lab.networks.registry import register

register(
    Shortcut(name="none", token="", kept="nothing", changed="nothing"),
    Shortcut(name="A", token="A", kept="identity", changed="padded"),
    Shortcut(name="B", token="B", kept="identity", changed="projection"),
    Shortcut(name="C", token="C", kept="projection", changed="projection"),
)
