"""Every measurement that needs a GPU, in one command of under ten minutes.

    python benchmarks/gpu.py --out results/benchmarks/gpu

Not run yet. In this order, so that an interrupted run leaves the most important results:
throughput of ResNet-20, 56 and 110 by each of the three loops against the textbook's, ResNet-20
compiled, overheads of recording, four seeds packed, the floors, and the ImageNet pipeline.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = {
    "throughput": "throughput.py --networks resnet-20,resnet-56,resnet-110 --ways plain,lab,graph "
    "--rounds 5 --updates 100 --workers 8",
    "compiled": "throughput.py --networks resnet-20 --ways plain,lab,compiled --rounds 3 "
    "--updates 100 --workers 8",
    "overheads": "overheads.py --precision bfloat16 --rounds 5 --updates 100",
    "packing": "packing.py --processes 1,4 --seconds 15",
    "floor": "floor.py --precision bfloat16",
    "images": "image_pipeline.py",
}
"""Measurements in order of importance; each writes below its own name."""


def main() -> None:
    """Run all measurements, each within the remaining time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.5)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    for name, command in COMMANDS.items():
        left = deadline - time.monotonic()
        if left < 20:
            print(f"{name}: no time left")
            continue
        script, *flags = command.split()
        whole = [sys.executable, str(HERE / script), *flags, "--device", "cuda"]
        whole += ["--out", str(given.out / name)]
        print(f"== {name}: {' '.join(whole[1:])}", flush=True)
        try:
            subprocess.run(whole, check=False, timeout=left)
        except subprocess.TimeoutExpired:
            print(f"{name}: the time is up")


if __name__ == "__main__":
    main()
