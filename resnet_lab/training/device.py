"""Choice of the device to train on."""

from __future__ import annotations

import torch

from resnet_lab.errors import UserError


def choose_device(name: str, count: int = 1) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "mps" into a device that this machine has.

    Args:
        name: "auto" is CUDA where there is a GPU, else the CPU.
        count: number of devices needed on this machine.

    Raises:
        UserError: this machine lacks the device, or has fewer of them.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    chosen = ("cuda" if there["cuda"] else "cpu") if name == "auto" else name
    if not there[chosen]:
        found = ", ".join(device for device, exists in there.items() if exists)
        raise UserError(f"device '{chosen}' is not on this machine, which has: {found}")
    if chosen == "cuda" and count > torch.cuda.device_count():
        raise UserError(
            f"trainer.devices is {count}, but this machine has {torch.cuda.device_count()} GPU(s)"
        )
    if chosen != "cuda":
        return torch.device(chosen)
    torch.backends.cudnn.allow_tf32 = False  # full float32 precision in convolutions too
    return torch.device(chosen, 0)


def device_in_words(device: torch.device) -> str:
    """Name a device for readers: the GPU's model, or "cpu (2 threads)"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
