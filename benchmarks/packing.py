"""Speed of several seeds at once on one device, against one after the other.

    python benchmarks/packing.py [--network resnet-20] [--processes 1,2,4] [--device cuda]
                                 [--seconds 20] [--mps] [--out DIR]

Each process trains one seed as `resnet-lab sweep --workers N` has its workers do it, on
CIFAR-shaped images at batch 128. The clock runs while all of them train. --mps starts NVIDIA's
multi-process service for the measurement, without which the kernels of several processes take
turns on a GPU instead of running side by side.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cifar_shaped
import torch
from report import save, table
from turns import Training

from resnet_lab.recording.schedule import RecordingConfig

STRIDE = 5
"""Updates between two readings of the clock."""


def main() -> None:
    """Measure, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet-20")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mps", action="store_true", help="with NVIDIA's multi-process service")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, _service(given.mps):
        cifar_shaped.write(Path(folder))
        for count in map(int, given.processes.split(",")):
            rates = together(count, given.network, folder, given.device, given.seconds)
            found[str(count)] = {"images_per_second": rates, "total": round(sum(rates), 1)}
    one = found[next(iter(found))]["total"]
    rows = [[name, each["total"], each["total"] / one] for name, each in found.items()]
    settings = {"network": given.network, "mps": given.mps, "seconds": given.seconds}
    save("packing", {**settings, "processes": found}, given.out, torch.device(given.device))
    print(table(["processes", "images/s together", "x the first"], rows))


def together(count: int, network: str, folder: str, device: str, seconds: float) -> list[float]:
    """Return the images a second of each of `count` processes that train at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    threads = max(1, (os.cpu_count() or 1) // count)
    arguments = (network, folder, device, seconds, threads, barrier, answers)
    team = [context.Process(target=_one, args=(seed, count, *arguments)) for seed in range(count)]
    for process in team:
        process.start()
    rates = [answers.get() for _ in team]
    for process in team:
        process.join()
    return sorted(rates)


def _one(
    seed: int,
    count: int,
    network: str,
    folder: str,
    device: str,
    seconds: float,
    threads: int,
    barrier: Any,
    answers: Any,
) -> None:
    torch.set_num_threads(threads)
    config = cifar_shaped.config(
        network,
        Path(folder),
        run=f"{count}-{seed}",
        device=device,
        recording=RecordingConfig(enabled=False),
        compiled=False,
    )
    training = Training(config, warm=150 if device == "cuda" else STRIDE)
    training.warm_up()
    barrier.wait()
    begun, made = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        made += training.run(100 if device == "cuda" else STRIDE)[0]
    answers.put(round(made * cifar_shaped.BATCH / (time.perf_counter() - begun), 1))
    barrier.wait()
    training.stop()


@contextmanager
def _service(wanted: bool) -> Iterator[None]:
    """NVIDIA's multi-process service, with pipes of its own, while entered."""
    if not wanted:
        yield
        return
    with tempfile.TemporaryDirectory() as pipes:
        os.environ.update(CUDA_MPS_PIPE_DIRECTORY=pipes, CUDA_MPS_LOG_DIRECTORY=pipes)
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, check=False)


if __name__ == "__main__":
    main()
