"""Overheads of recording, Lightning and a second member.

    python benchmarks/overheads.py [--network resnet-20] [--twin plain-20] [--device cpu]
                                   [--rounds 7] [--updates 4] [--out DIR]

Contestants, which take turns in one process on CIFAR-shaped images, batch 128:

    bare            the same batches, forward and backward passes and SGD in a loop by hand
    plain           Lightning's own loop, nothing recorded
    lab             the loop that the machine has chosen, nothing recorded
    norms           lab, norms of gradients, weights and updates recorded at every step
    everything      norms, and the probe's forward and backward pass, at every step
    extra           everything, and what is recorded only on request, at every step
    twin, pair      the other network alone, and both as a cohort

What recording costs at the default schedule follows: so many of 64,000 steps record, and a
recording costs `everything` minus `lab`. All in one arithmetic, --precision and --compile.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cifar_shaped
import torch
from report import save, table
from turns import Contestant, Loop, Times, Training, take_turns

from resnet_lab.configuration.config import Config
from resnet_lab.data.load import load_data
from resnet_lab.recording.schedule import RecordingConfig, recording_steps
from resnet_lab.training.loop import build_cohort

OFF = RecordingConfig(enabled=False)
NORMS = RecordingConfig(every=1, probe=False)
EVERYTHING = RecordingConfig(every=1)
EXTRA = RecordingConfig(every=1, quantities="all,extra")


def main() -> None:
    """Measure, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet-20")
    parser.add_argument("--twin", default="plain-20")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=4, help="of each contestant in each round")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cifar_shaped.write(Path(folder))
        times = take_turns(
            _contestants(Path(folder), given), rounds=given.rounds, updates=given.updates
        )
    found = compare(times)
    settings = {k: v for k, v in vars(given).items() if k not in ("out", "device")}
    seconds = {name: [round(s, 5) for s in one.seconds] for name, one in times.items()}
    save(
        "overheads",
        {**settings, **found, "seconds": seconds},
        given.out,
        torch.device(given.device),
    )
    print(
        table(
            ["percent", "undisturbed", "median", "lowest", "highest"],
            [[k, *v.values()] for k, v in found.items()],
        )
    )


def _contestants(folder: Path, given: argparse.Namespace) -> dict[str, Contestant]:
    def training(run: str, network: str, recording: RecordingConfig, loop: str = "auto") -> Config:
        return cifar_shaped.config(
            network,
            folder,
            run=run,
            device=given.device,
            recording=recording,
            loop=loop,
            precision=given.precision,
            compiled=given.compile,
        )

    one, other = given.network, given.twin
    lab = training("lab", one, OFF)
    return {
        "bare": Loop(bare_step(lab, torch.device(given.device))),
        "plain": Training(training("plain", one, OFF, "plain")),
        "lab": Training(lab),
        "norms": Training(training("norms", one, NORMS)),
        "everything": Training(training("everything", one, EVERYTHING)),
        "extra": Training(training("extra", one, EXTRA)),
        "twin": Training(training("twin", other, OFF)),
        "pair": Training(training("pair", f"{other},{one}", OFF)),
    }


def bare_step(config: Config, device: torch.device) -> Callable[[], None]:
    """Return one update of a cohort of one with this project's kernels and nothing around them."""
    data = load_data(config.data, Path(str(config.data_dir)))
    cohort = build_cohort(config, data).to(device)
    sgd = cohort.configure_optimizers()
    steps = iter(range(config.recipe.iterations))

    def step() -> None:
        images, labels = data.train_batch(
            next(steps), seed=config.seed, batch_size=config.recipe.batch_size, device=device
        )
        sgd.zero_grad()
        loss, _ = cohort.score(0, images.contiguous(memory_format=torch.channels_last), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()

    return step


def compare(times: dict[str, Times]) -> dict[str, dict[str, float]]:
    """Return each overhead in percent, as `Times.over` compares times."""
    alone = Times([a + b for a, b in zip(times["lab"].seconds, times["twin"].seconds, strict=True)])
    ratios = {
        "Lightning's own loop over the bare one": times["plain"].over(times["bare"]),
        "the chosen loop over the bare one": times["lab"].over(times["bare"]),
        "norms at every step": times["norms"].over(times["lab"]),
        "everything at every step": times["everything"].over(times["lab"]),
        "all and extra at every step": times["extra"].over(times["lab"]),
        "a pair over its two members alone": times["pair"].over(alone),
    }
    percent: dict[str, Any] = {
        name: {key: round(100 * (value - 1), 2) for key, value in ratio.items()}
        for name, ratio in ratios.items()
    }
    recorded = len(recording_steps(cifar_shaped.ITERATIONS, RecordingConfig()))
    share = recorded / cifar_shaped.ITERATIONS
    for what in ("everything", "all and extra"):
        percent[f"{what} at the default schedule"] = {
            key: round(share * value, 3) for key, value in percent[f"{what} at every step"].items()
        }
    return percent


if __name__ == "__main__":
    main()
