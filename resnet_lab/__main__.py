"""The command `resnet-lab`, which `python -m resnet_lab` is too."""

from __future__ import annotations

from typing import NoReturn

from resnet_lab.cli import main
from resnet_lab.cli.terminal import own_streams
from resnet_lab.interpreter import leave


def run() -> NoReturn:
    """Run the command, and end the process with its exit code."""
    own_streams()
    leave(main())


if __name__ == "__main__":
    run()
