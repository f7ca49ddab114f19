"""resnet-lab evaluate"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.normalise import Chosen, choose, read_choice
from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.terminal import printable
from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.files import with_home
from resnet_lab.yaml_json import load_yaml, read_text

if TYPE_CHECKING:
    from resnet_lab.data.config import DataConfig
    from resnet_lab.data.inputs import Inputs
    from resnet_lab.data.loader import Data
    from resnet_lab.networks.spec import NetworkSpec
    from resnet_lab.networks.weights import Weights


def run(arguments: Sequence[str]) -> int:
    """Print the test error of weights in percent, and assumptions on stderr."""
    given = _parser().parse_args(arguments)
    if given.normalise is not None:
        given.normalise = read_choice(given.normalise)
    given.weights = with_home(given.weights)
    result = _evaluate(given)
    for note in result["notes"]:
        print(f"resnet-lab: {printable(note)}", file=sys.stderr)
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
    from resnet_lab.networks.spec import NetworkSpec
    from resnet_lab.networks.weights import read_weights
    from resnet_lab.training.device import choose_device
    from resnet_lab.training.evaluation import evaluate

    device = choose_device(given.device)
    weights = read_weights(given.weights)
    trained = _training_data(weights.path) if weights.authors is None else None
    spec = NetworkSpec.parse(given.network)
    _check_file_name(weights, trained, spec)
    weights.check(spec)
    said = _inputs(weights)
    chosen = _chosen(given, weights, spec, said, trained)
    config = chosen.data
    if given.workers is not None:
        config = replace(config, workers=given.workers)
    data = load_data(config, given.data_dir, chosen.normalisation)
    network = build_network(spec, num_classes=data.num_classes, in_channels=data.image_shape[0])
    weights.set_in(network)
    _check_inputs(weights.path, chosen, said, data)
    batches = data.evaluation_batches("test", batch_size=given.batch_size, device=device)
    score = evaluate([network.to(device)], batches, device)[0]
    if not math.isfinite(score.loss):
        raise UserError(
            f"{given.weights}: with these weights {network.spec.name} puts out values that are not "
            "finite: it has no error to be measured"
        )
    return {
        "network": (weights.network or spec).name,
        "data": data.name,
        "split": "test",
        "images": score.images,
        "num_classes": data.num_classes,
        "error": score.error,
        "top5_error": score.top5_error,
        "loss": score.loss,
        "normalise": chosen.told,
        "test_view": chosen.data.test_view,
        "format": weights.format,
        "notes": [*_on_the_network(weights, trained, spec), *chosen.notes],
    }


def _inputs(weights: Weights) -> Inputs | None:
    """The inputs that the network was trained on, as its file states them."""
    from resnet_lab.data.inputs import Inputs

    if weights.inputs is None:
        return None
    try:
        return Inputs.from_dict(weights.inputs)
    except UserError as error:
        raise UserError(f"{weights.path}: {error}") from error


def _chosen(
    given: argparse.Namespace,
    weights: Weights,
    spec: NetworkSpec,
    said: Inputs | None,
    trained: DataConfig | None,
) -> Chosen:
    from resnet_lab.data.config import DataConfig

    return choose(
        given.weights,
        DataConfig(given.data, test_view=given.test_view, protocol="full", pixels=given.pixels),
        given.normalise,
        said,
        trained,
        weights.authors,
        spec,
    )


def _check_file_name(weights: Weights, trained: DataConfig | None, spec: NetworkSpec) -> None:
    """Check the network by file name, for a file in a run directory that does not name it."""
    name = weights.path.stem
    if weights.network is None and trained is not None and name != spec.name:
        raise UserError(
            f"{weights.path} holds the weights of {name}, not of {spec.name}: give --network {name}"
        )


def _check_inputs(path: Path, chosen: Chosen, said: Inputs | None, data: Data) -> None:
    """Refuse normalisation for other channels, and outputs for other classes."""
    means = 0 if chosen.normalisation is None else len(chosen.normalisation.mean)
    if means and means != data.image_shape[0]:
        raise UserError(
            f"--normalise {chosen.told}: it is for {means} channels, and the images of {data.name} "
            f"have {data.image_shape[0]}"
        )
    if said is not None and said.classes and data.classes and said.classes != data.classes:
        raise UserError(
            f"{path} tells the classes {_listed(said.classes)} apart, and {data.name} has "
            f"{_listed(data.classes)}: its outputs stand for other classes"
        )


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")


def _on_the_network(weights: Weights, trained: DataConfig | None, spec: NetworkSpec) -> list[str]:
    """Notes on what is unknown of our own unnamed file outside its run directory."""
    if weights.authors is not None or weights.network is not None or trained is not None:
        return []
    return [
        f"{weights.path} does not say which network it holds: {spec.name} was assumed; "
        "others that differ in identity shortcuts, a stride's place or the order in a block have "
        "the same tensors"
    ]


def _training_data(weights: Path) -> DataConfig | None:
    """The data section of the weights' run; None outside a run directory."""
    file = weights.resolve().parent.parent / "config.yaml"
    if not file.exists() or weights.resolve().parent.name != "weights":
        return None
    try:
        return Config.from_stored(load_yaml(read_text(file))).data
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the configuration of the run that {weights} lies in: {error}") from error


def _parser() -> Parser:
    parser = Parser("evaluate", "Test error of own or third-party weights.")
    parser.add_argument("weights", metavar="WEIGHTS", help="a file of weights")
    parser.add_argument("--network", required=True, help="such as resnet-20")
    parser.add_argument("--data", required=True, help="such as cifar10")
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument(
        "--normalise",
        metavar="HOW",
        help="pixel-mean, channel, imagenet, or numbers for pixels / 255 as MEANS/DEVIATIONS, one "
        "a channel. Default: as the weights' file says; what is assumed of a file that says "
        "nothing is told",
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
    parser.add_argument(
        "--data.pixels",
        dest="pixels",
        type=int,
        metavar="SIDE",
        help="average the images of cifar10 and cifar100 to so many pixels a side",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable, all digits")
    return parser
