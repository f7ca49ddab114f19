"""resnet-lab evaluate"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_lab.cli.parsing import Parser

NORMALISATION = {"resnet_lab": "pixel-mean", "torchvision": "imagenet", "akamaster": "imagenet"}


def run(arguments: Sequence[str]) -> int:
    """Print the test error of weights, percent."""
    given = _parser().parse_args(arguments)
    from resnet_lab.data.config import DataConfig, default_data_dir
    from resnet_lab.data.load import load_data
    from resnet_lab.networks.network import build_network
    from resnet_lab.networks.spec import NetworkSpec
    from resnet_lab.networks.weights import load_weights
    from resnet_lab.training.device import choose_device
    from resnet_lab.training.evaluation import evaluate

    device = choose_device(given.device)
    spec = NetworkSpec.parse(given.network)
    config = DataConfig(given.data, protocol="full", test_view=given.test_view)
    data = load_data(config, default_data_dir(given.data_dir))
    network = build_network(
        spec, num_classes=data.num_classes, in_channels=data.image_shape[0]
    )
    source = load_weights(Path(given.weights), network)
    print(source, data.name, evaluate, device)
    return 0


def _parser() -> Parser:
    parser = Parser("evaluate", "Test error of own or third-party weights.")
    parser.add_argument("weights", metavar="WEIGHTS", help="a file of weights")
    parser.add_argument("--network", required=True, help="such as resnet-20")
    parser.add_argument("--data", required=True, help="such as cifar10")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    return parser
