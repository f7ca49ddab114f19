"""Dead units: channels that no image of the batch activates, by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from resnet_lab.recording.measured import MeasuredBlock
    from resnet_lab.recording.responses import Probe


def dead_units(block: nn.Module, images: Tensor) -> Tensor:
    """Return the share of a block's channels that are dead for its input, in percent: shape ().

    Counted are the channels of all activations in the block, that behind the addition included. One
    is dead if its output is zero for all images at all positions. The block runs once more, in the
    mode that it is in; a block without activations gives nan.
    """
    import torch

    from resnet_lab.recording.random_state import restored_random_state

    dead: list[Tensor] = []

    def listen(module: nn.Module, inputs: Any, output: Tensor) -> None:
        dead.append((output == 0).flatten(2).all(2).all(0))

    hooks = [
        module.register_forward_hook(listen)
        for name, module in block.named_children()
        if name.startswith("activation")
    ]
    try:
        with torch.no_grad(), restored_random_state(images.device):
            block(images)
    finally:
        for hook in hooks:
            hook.remove()
    found = torch.cat(dead) if dead else images.new_empty(0)
    return 100 * found.float().mean()


def _dead_units(probe: Probe) -> Tensor:
    import torch

    blocks = cast("Sequence[MeasuredBlock]", probe.kept["block"])
    return torch.stack([dead_units(block.module, block.input) for block in blocks])


register(
    Quantity(
        name="dead_units",
        at="block",
        needs="tensors",
        label="dead channels (%)",
        formula="percent of the channels of the block's activations whose output is zero for every "
        "image at every position",
        measure=_dead_units,
        place=120,
        logarithmic=False,
        default=False,
    )
)
