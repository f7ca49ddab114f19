"""The project's data sets, one file a data set or family. Importing them imports no torch."""

from __future__ import annotations

from resnet_lab.parts.registry import load_home

load_home(__name__)  # all of them, whichever is imported first: they are the project's
