"""Images a second that one core decodes and augments for ImageNet, and that ResNet-50 trains on.

    python benchmarks/image_pipeline.py [--images 256] [--repeat 5] [--device cpu] [--out DIR]

Makes images like photographs (500 x 375, JPEG quality 90, noise with their spectrum,
about 100 kB as ImageNet's own), reads them through this project's training batches in one process
with one thread, and lets ResNet-50 train on batches that lie ready.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floor import seconds
from PIL import Image
from report import save, table

from resnet_lab.data.config import DataConfig
from resnet_lab.data.load import load_data
from resnet_lab.networks.network import build_network

BATCH = 32
CLASSES = 4


def main() -> None:
    """Measure, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = torch.device(given.device)
    with tempfile.TemporaryDirectory() as folder:
        size = write_photographs(Path(folder), given.images)
        read = read_rates(Path(folder), given.repeat)
    consumed = resnet50_rate(device, given.repeat)
    found: dict[str, Any] = {
        "bytes_an_image": size,
        "read_per_core": read,
        "resnet50_consumes": consumed,
        "cores_to_feed_it": round(consumed / sorted(read)[len(read) // 2], 2),
    }
    save("image_pipeline", found, given.out, device)
    print(table(["", "value"], [[name, value] for name, value in found.items()]))


def write_photographs(folder: Path, count: int) -> int:
    """Write an image tree; return the mean bytes of an image."""
    total = 0
    for part, number in (("train", count), ("val", CLASSES)):
        for place in range(number):
            path = folder / "imagenet" / part / f"n{place % CLASSES:08d}" / f"{place:05d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph(place)).save(path, quality=90)
            total += path.stat().st_size if part == "train" else 0
    return round(total / count)


def photograph(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise whose amplitude falls as one over the frequency, uint8 (375, 500, 3)."""
    random = np.random.default_rng(seed)
    height, width = 375, 500
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / width)
    grey = random.normal(size=(height, width, 1))
    planes = 0.9 * grey + 0.3 * random.normal(size=(height, width, 3))
    shaped = np.fft.irfft2(
        np.fft.rfft2(planes, axes=(0, 1)) * amplitude[..., None], s=(height, width), axes=(0, 1)
    )
    spread = (shaped - shaped.mean()) / shaped.std()
    return np.clip(128 + 60 * spread, 0, 255).astype(np.uint8)


def read_rates(folder: Path, repeat: int) -> list[float]:
    """Images a second of one thread: read, decoded, scaled, cropped, mirrored, coloured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = DataConfig("imagenet", protocol="full", augment="paper", normalise="imagenet")
        data = load_data(config, folder)
        data.train_batch(0, seed=0, batch_size=BATCH)
        rates = []
        for step in range(1, repeat + 1):
            begun = time.perf_counter()
            data.train_batch(step, seed=0, batch_size=BATCH)
            rates.append(round(BATCH / (time.perf_counter() - begun), 1))
        return rates
    finally:
        torch.set_num_threads(threads)


def resnet50_rate(device: torch.device, repeat: int) -> float:
    """Images a second that ResNet-50 trains on, bfloat16 on a GPU, float32 elsewhere."""
    batch = 128 if device.type == "cuda" else 16
    network = build_network("resnet-50", num_classes=1000).to(device)
    network.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    x = torch.randn(batch, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(1000, (batch,), device=device)

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(x)
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
        sgd.step()

    return round(batch / seconds(work, repeat), 1)


if __name__ == "__main__":
    main()
