"""The training loop of the usual public CIFAR scripts, as baseline.

A DataLoader of PIL images with torchvision's transforms, float32, NCHW, nothing compiled, and
`.item()` every step for the running loss and error. The network is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from resnet_lab.networks.network import build_network


class PilImages(Dataset[tuple[Tensor, int]]):
    """CIFAR-10's images as torchvision gives them.

    Args:
        images: uint8 (N, 32, 32, 3).
        labels: (N,).
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self._images, self._labels = images, labels
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262)),
            ]
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """One image, augmented, and its label."""
        image = Image.fromarray(self._images[place])
        return self._transform(image), int(self._labels[place])


def textbook_step(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    classes: int,
    device: torch.device,
    batch_size: int,
    workers: int,
) -> Callable[[], float]:
    """Return a function that makes one update of network `name` and returns its loss."""
    network = build_network(name, num_classes=classes).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(
        PilImages(images, labels),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=workers > 0,
    )
    batches: Iterator[tuple[Tensor, Tensor]] = chain.from_iterable(repeat(loader))
    seen = {"images": 0, "loss": 0.0, "wrong": 0.0}

    def step() -> float:
        x, y = next(batches)
        x, y = x.to(device), y.to(device)
        logits = network(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen["images"] += len(y)
        seen["loss"] = loss.item()
        seen["wrong"] += (logits.argmax(1) != y).sum().item()
        return seen["loss"]

    return step
