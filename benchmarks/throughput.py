"""Images a second, end to end, against the loop of the usual public CIFAR scripts.

    python benchmarks/throughput.py [--networks resnet-20,plain-20,...] [--device cpu]
                                    [--rounds 5] [--updates 3] [--out DIR]

Contestants, which take turns in one process, batch 128 of 32 x 32 images:

    textbook    benchmarks/textbook.py
    plain       this project, float32, Lightning's own loop, nothing compiled
    lab         this project with precision, compile and loop left to the machine
    compiled    the same, compiled
    graph       lab by a CUDA graph, only where --ways names it

Compiling happens before the clock starts; its seconds are in docs/speed.md. No contestant records
or evaluates here; what recording costs is measured by overheads.py.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cifar_shaped
import torch
from report import save, table
from textbook import textbook_step
from turns import Contestant, Loop, Training, take_turns

from resnet_lab.recording.schedule import RecordingConfig

NETWORKS = "resnet-20,plain-20,resnet-56,plain-56,resnet-110,plain-110"
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"loop": "plain", "precision": "float32", "compiled": False},
    "lab": {"compiled": False},
    "compiled": {"compiled": True},
    "graph": {"loop": "graph", "compiled": False},
}


def main() -> None:
    """Measure every network, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--ways", default="plain,lab,compiled", help="besides textbook")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=3, help="of each contestant in each round")
    parser.add_argument("--workers", type=int, default=2, help="of the textbook's DataLoader")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cifar_shaped.write(Path(folder))
        for network in given.networks.split(","):
            found[network] = contest(network, Path(folder), given)
            print(shown({network: found[network]}), flush=True)
    settings = {key: getattr(given, key) for key in ("rounds", "updates", "workers")}
    save("throughput", {**settings, "networks": found}, given.out, torch.device(given.device))
    print(shown(found))


def contest(network: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Let all contestants train one network; images a second and ratios to the textbook."""
    device = torch.device(given.device)
    images, labels = cifar_shaped.pixels("train")
    step = textbook_step(
        network,
        images,
        labels,
        classes=cifar_shaped.CLASSES,
        device=device,
        batch_size=cifar_shaped.BATCH,
        workers=given.workers,
    )
    contestants: dict[str, Contestant] = {"textbook": Loop(step)}
    for way in given.ways.split(","):
        config = cifar_shaped.config(
            network,
            folder,
            run=f"{network}-{way}",
            device=given.device,
            recording=RecordingConfig(enabled=False),
            **WAYS[way],
        )
        contestants[way] = Training(config)
    times = take_turns(contestants, rounds=given.rounds, updates=given.updates)
    return {
        name: {
            "images_per_second": [round(cifar_shaped.BATCH / one, 1) for one in taken.seconds],
            "undisturbed": round(cifar_shaped.BATCH / taken.undisturbed, 1),
            "times_textbook": times["textbook"].over(taken),
        }
        for name, taken in times.items()
    }


def shown(found: dict[str, dict[str, Any]]) -> str:
    """Return the measurements as a table, a line a network and contestant."""
    rows = []
    for network, ways in found.items():
        for way, one in ways.items():
            speeds = one["images_per_second"]
            name = f"{network} {way}"
            ratios = one["times_textbook"].values()
            rows.append([name, one["undisturbed"], min(speeds), max(speeds), *ratios])
    titles = ["", "images/s", "lowest", "highest", "x textbook", "median", "lowest", "highest"]
    return table(titles, rows)


if __name__ == "__main__":
    main()
