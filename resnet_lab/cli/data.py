"""resnet-lab data"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.terminal import printable
from resnet_lab.data.config import check_data_name
from resnet_lab.data.dataset import datasets
from resnet_lab.errors import UserError


def run(arguments: Sequence[str]) -> int:
    """Prepare (download, unpack) or verify a data set."""
    parser = Parser("data", "Fetch and unpack a data set, or check the files that are there.")
    parser.add_argument("action", choices=("prepare", "verify"))
    parser.add_argument("name", metavar="NAME", help=", ".join(datasets()))
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    if arguments[:1] and arguments[0] in datasets():
        raise UserError(
            f"say first what to do with {arguments[0]}: resnet-lab data prepare {arguments[0]}, "
            f"or resnet-lab data verify {arguments[0]}"
        )
    given = parser.parse_args(arguments)
    check_data_name(given.name)
    from resnet_lab.data.prepare import prepare, verify

    action = prepare if given.action == "prepare" else verify
    for line in action(given.name, given.data_dir):
        print(printable(line).replace("\n", "\\n"))
    return 0
