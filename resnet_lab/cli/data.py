"""resnet-lab data"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.terminal import printable


def run(arguments: Sequence[str]) -> int:
    """Prepare (download, unpack) or verify a data set."""
    parser = Parser("data", "Fetch and unpack a data set, or check the files that are there.")
    parser.add_argument("action", choices=("prepare", "verify"))
    parser.add_argument("name", metavar="NAME", help="digits, cifar10, cifar100, imagenet, ...")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    given = parser.parse_args(arguments)
    from resnet_lab.data.config import check_data_name, default_data_dir

    check_data_name(given.name)
    from resnet_lab.data.prepare import prepare, verify

    action = prepare if given.action == "prepare" else verify
    folder = Path() if given.name == "digits" else default_data_dir(given.data_dir)
    print(printable("\n".join(action(given.name, folder))))
    return 0
