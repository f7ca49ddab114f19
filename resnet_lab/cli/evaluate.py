"""resnet-lab evaluate"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import Parser, parse_config
from resnet_lab.errors import UserError
from resnet_lab.files import with_home

if TYPE_CHECKING:
    from resnet_lab.data.config import DataConfig, NormaliseKind

THIRD_PARTY: dict[str | None, NormaliseKind] = {"torchvision": "imagenet", "akamaster": "imagenet"}
"""How the inputs of third-party weights are normalised."""


def run(arguments: Sequence[str]) -> int:
    """Print the test error of weights, percent."""
    given = _parser().parse_args(arguments)
    given.weights = with_home(given.weights)
    result = _evaluate(given)
    if given.json:
        print(json.dumps(result, indent=2))
        return 0
    top5 = f", top-5 {result['top5_error']:.2f} %" if result["num_classes"] >= 100 else ""
    print(
        f"{result['network']} on {result['data']}: test error {result['error']:.2f} %{top5} "
        f"({result['images']:,} images, normalise {result['normalise']}, "
        f"weights in {result['format']}'s format)"
    )
    return 0


def _evaluate(given: argparse.Namespace) -> dict[str, Any]:
    from resnet_lab.data.load import load_data
    from resnet_lab.networks.network import build_network
    from resnet_lab.networks.weights import load_weights, read_tensors, weights_format
    from resnet_lab.training.device import choose_device
    from resnet_lab.training.evaluation import evaluate

    device = choose_device(given.device)
    source = weights_format(read_tensors(Path(given.weights)))
    trained = _training_data(Path(given.weights))
    config = _data_config(given, source, trained)
    data = load_data(config, given.data_dir)
    network = build_network(
        given.network, num_classes=data.num_classes, in_channels=data.image_shape[0]
    )
    if trained is not None and Path(given.weights).stem != network.spec.name:
        raise UserError(
            f"{given.weights} holds the weights of {Path(given.weights).stem}, not of "
            f"{network.spec.name}: give --network {Path(given.weights).stem}"
        )
    load_weights(Path(given.weights), network)
    batches = data.evaluation_batches("test", batch_size=given.batch_size, device=device)
    score = evaluate([network.to(device)], batches, device)[0]
    if not math.isfinite(score.loss):
        raise UserError(
            f"{given.weights}: with these weights {network.spec.name} puts out values that are not "
            "finite: it has no error to be measured"
        )
    return {
        "network": network.spec.name,
        "data": data.name,
        "split": "test",
        "images": score.images,
        "num_classes": data.num_classes,
        "error": score.error,
        "top5_error": score.top5_error,
        "loss": score.loss,
        "normalise": config.normalise,
        "test_view": config.test_view,
        "format": source,
    }


def _data_config(
    given: argparse.Namespace, source: str | None, trained: DataConfig | None
) -> DataConfig:
    """The data as the weights saw them: of their run, of their authors, or as the flags say."""
    from resnet_lab.data.config import DataConfig

    if trained is not None and trained.name == given.data:
        config = replace(trained, test_view=given.test_view, test=True)
    else:
        config = DataConfig(given.data, test_view=given.test_view, protocol="full")
        if source in THIRD_PARTY:
            config = replace(config, normalise=THIRD_PARTY[source])
    if given.workers is not None:
        config = replace(config, workers=given.workers)
    return replace(config, normalise=given.normalise) if given.normalise else config


def _training_data(weights: Path) -> DataConfig | None:
    """The data section of the run that weights lie in; None outside a run directory."""
    file = weights.resolve().parent.parent / "config.yaml"
    if not file.exists() or weights.resolve().parent.name != "weights":
        return None
    try:
        return parse_config(["--config", str(file)]).data
    except UserError as error:
        raise UserError(f"the configuration of the run that {weights} lies in: {error}") from error


def _parser() -> Parser:
    parser = Parser("evaluate", "Test error of own or third-party weights.")
    parser.add_argument("weights", metavar="WEIGHTS", help="a file of weights")
    parser.add_argument("--network", required=True, help="such as resnet-20")
    parser.add_argument("--data", required=True, help="such as cifar10")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument(
        "--normalise",
        choices=("pixel-mean", "channel", "imagenet"),
        help="default: as the run that the weights lie in; imagenet for third-party weights",
    )
    parser.add_argument(
        "--test-view", default="centre", choices=("centre", "ten-crop", "multi-scale")
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument(
        "--data.workers",
        dest="workers",
        type=int,
        help="processes that read images; default: as the run, or 4",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable, all digits")
    return parser
