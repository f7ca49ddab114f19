"""The command `resnet-lab`, also run by `python -m resnet_lab`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import NoReturn

from resnet_lab.lifecycle import leave  # first: its exit handler must run last
from resnet_lab.training.interruption import Interruption

TRAINING = (["train"], ["sweep"])
"""Commands that shut down gracefully on a signal; the others end at once."""


def run() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    with Interruption() if sys.argv[1:2] in TRAINING else nullcontext():
        from resnet_lab.cli import main
        from resnet_lab.cli.terminal import own_streams

        own_streams()
        leave(main())


if __name__ == "__main__":
    run()
