"""The command `resnet-lab`, which `python -m resnet_lab` is too."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import NoReturn

from resnet_lab.lifecycle import leave  # first: its exit handler is to come last
from resnet_lab.training.interruption import Interruption

TRAINING = (["train"], ["sweep"])
"""Commands that end in order when they are interrupted; the others end at once."""


def run() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    with Interruption() if sys.argv[1:2] in TRAINING else nullcontext():
        from resnet_lab.cli import main
        from resnet_lab.cli.terminal import own_streams

        own_streams()
        leave(main())


if __name__ == "__main__":
    run()
