"""The built-in parts, one file for each part or family of parts."""

from __future__ import annotations

from resnet_lab.parts.registry import load_home

load_home(__name__)  # all at once, whichever is imported first, so that all count as built-in
