"""Time of a training step against the lower bounds that the hardware sets.

    python benchmarks/floor.py [--networks resnet-20,resnet-56,resnet-110] [--device cpu]
                               [--rounds 5] [--out DIR]

Measures three rates of this machine: large matrix products, each network's own convolutions
(forward and backward, channels last, one shape at a time), and copies in memory. A step of batch
128 can be no faster than its convolutions' operations at the matrix rate, nor than its bytes at
the rate of copies; the time of its convolutions alone is a floor that this library could reach.

Bytes of a step, with E the elements that a convolution reads and A those that it writes: it reads
E and writes A forward, reads A twice and E once and writes E backward; its batch norm reads A
twice (statistics, then values) and writes A forward, and reads 2 A twice and writes A backward;
ReLU and addition are taken to be free, as a compiler can fuse them. Together 3 E + 11 A. Weights
are small beside them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cifar_shaped
import torch
import torch.nn.functional as F
from report import save, table
from turns import wait_for_device

from resnet_lab.networks.complexity import Layer, complexity, layer_table
from resnet_lab.networks.network import build_network
from resnet_lab.networks.spec import NetworkSpec

BATCH = cifar_shaped.BATCH
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Measure rates and steps, print the table, save the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default="resnet-20,resnet-56,resnet-110")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="float32", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device, dtype = torch.device(given.device), DTYPES[given.precision]
    rates = {
        "matrix_operations_per_second": matrix_rate(device, dtype, given.rounds),
        "copied_bytes_per_second": copy_rate(device, given.rounds),
    }
    networks = {
        name: floors(NetworkSpec.parse(name), device, dtype, rates, given.rounds)
        for name in given.networks.split(",")
    }
    found = {"batch": BATCH, "precision": given.precision, **rates, "networks": networks}
    save("floor", found, given.out, device)
    for name, rate in rates.items():
        print(f"{name}: {rate:.3g}")
    titles = ["milliseconds a step", *next(iter(networks.values()))]
    print(table(titles, [[name, *values.values()] for name, values in networks.items()]))


def matrix_rate(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """Operations a second of a product of large square matrices."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, rounds)


def copy_rate(device: torch.device, rounds: int) -> float:
    """Bytes a second, read and written, of a copy far larger than any cache."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), rounds)


def floors(
    spec: NetworkSpec,
    device: torch.device,
    dtype: torch.dtype,
    rates: dict[str, float],
    rounds: int,
) -> dict[str, float]:
    """Return milliseconds of a step, measured and its three floors, and the fractions reached."""
    size = complexity(spec, num_classes=cifar_shaped.CLASSES)
    operations = 6 * BATCH * size.multiply_adds
    moved = BATCH * dtype.itemsize * sum(map(_elements, size.layers))
    found = {
        "operations": operations / rates["matrix_operations_per_second"],
        "bytes": moved / rates["copied_bytes_per_second"],
        "convolutions": convolution_seconds(spec, device, dtype, rounds),
        "step": step_seconds(spec.name, device, dtype, rounds),
    }
    milliseconds = {name: round(1000 * value, 3) for name, value in found.items()}
    reached = {
        f"of {name}": round(found[name] / found["step"], 3)
        for name in ("operations", "bytes", "convolutions")
    }
    return {**milliseconds, **reached}


def _elements(layer: Layer) -> int:
    """Return the elements that a layer and its norm move per image: 3 E + 11 A."""
    if layer.kind == "classifier":
        return 3 * layer.in_channels + 3 * layer.out_channels
    height, width = layer.output_size
    written = layer.out_channels * height * width
    read = layer.in_channels * height * width * layer.stride**2
    return 3 * read + 11 * written


def convolution_seconds(
    spec: NetworkSpec, device: torch.device, dtype: torch.dtype, rounds: int
) -> float:
    """Seconds of all convolutions of a step, each shape timed alone and counted as often."""
    layers = layer_table(spec, num_classes=cifar_shaped.CLASSES)
    convolutions = [layer for layer in layers if layer.kind != "classifier"]
    counts = Counter(map(_shape, convolutions))
    return sum(
        count * one_convolution(*shape, device, dtype, rounds) for shape, count in counts.items()
    )


def _shape(layer: Layer) -> tuple[int, int, int, int, int, bool]:
    size = layer.output_size[0] * layer.stride
    return (
        *(layer.in_channels, layer.out_channels, layer.kernel, layer.stride, size),
        layer.index > 1,  # the images themselves need no gradient
    )


def one_convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    size: int,
    differentiated: bool,
    device: torch.device,
    dtype: torch.dtype,
    rounds: int,
) -> float:
    """Seconds of one convolution, forward and backward."""
    x = torch.randn(BATCH, inputs, size, size, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(differentiated)
    weight = torch.randn(outputs, inputs, kernel, kernel, device=device, dtype=dtype)
    weight = weight.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = F.conv2d(x, weight, stride=stride, padding=kernel // 2)
    gradient = torch.randn_like(y)
    wanted = [x, weight] if differentiated else [weight]

    def work() -> None:
        y = F.conv2d(x, weight, stride=stride, padding=kernel // 2)
        torch.autograd.grad(y, wanted, gradient)

    return seconds(work, rounds)


def step_seconds(name: str, device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """Seconds of forward, backward and SGD of one network, kernel by kernel, batch in place."""
    network = build_network(name, num_classes=cifar_shaped.CLASSES).to(device)
    network.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=1e-4)
    x = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(cifar_shaped.CLASSES, (BATCH,), device=device)

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = network(x)
        sgd.zero_grad()
        F.cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
        sgd.step()

    return seconds(work, rounds)


def seconds(work: Callable[[], Any], rounds: int, least: float = 0.2) -> float:
    """Seconds of one call in the fastest of rounds of at least `least` seconds each.

    The fastest round is the best estimate of a floor, as disturbances only add time.
    """
    work()
    wait_for_device()
    calls, spent = 1, []
    while len(spent) < rounds:
        begun = time.perf_counter()
        for _ in range(calls):
            work()
        wait_for_device()
        taken = time.perf_counter() - begun
        if taken < least:
            calls = max(calls + 1, int(calls * 1.2 * least / max(taken, 1e-6)))
        else:
            spent.append(taken / calls)
    return min(spent)


if __name__ == "__main__":
    main()
