"""resnet-lab networks"""

from __future__ import annotations

import json
from collections.abc import Sequence

from resnet_lab.cli.parsing import Parser


def run(arguments: Sequence[str]) -> int:
    """Print the networks named, or all of the paper's."""
    parser = Parser("networks", "Parameters, multiply-adds, layers and the matched twin.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as plain-56; default: all")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--num-classes", type=int, help="default: 10 (CIFAR), 1000 (ImageNet)")
    parser.add_argument("--in-channels", type=int, default=3)
    parser.add_argument(
        "--image-size", type=int, help="pixels; default: 32 (CIFAR), 224 (ImageNet)"
    )
    given = parser.parse_args(arguments)
    from resnet_lab.networks.table import format_rows, network_rows

    rows = network_rows(
        [name for names in given.names for name in names.split(",")],
        num_classes=given.num_classes,
        in_channels=given.in_channels,
        image_size=given.image_size,
    )
    print(json.dumps(rows, indent=2) if given.json else format_rows(rows))
    return 0
