"""Measurements on a probe batch: activation gradients, responses, variances of both paths.

With y_b the output of block b (y_0 that of the stem), L the mean cross-entropy of the batch, and
F_b and s_b the two terms of block b's addition, y_b = after(F_b + s_b):

    activation_gradient_norm    ||dL/dy_b||, over the whole batch. A chain of wide, fully connected
                                batch-normalised ReLU layers without shortcuts multiplies it by
                                sqrt(pi / (pi - 1)) = 1.2112 a layer towards the input at
                                initialisation (Yang et al. 2019, arXiv 1902.08129)
    response_std                standard deviation of a convolution's response: its output after
                                its own norm, before ReLU and addition (R, Figure 7)
    variance_ratio              Var F_b / Var s_b (De & Smith 2020, arXiv 2002.10444, "Batch
                                normalization biases residual blocks towards the identity function")

Standard deviations and variances are over all elements of a tensor: images, channels, positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from resnet_lab.networks.architecture import architecture
from resnet_lab.networks.network import Network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.keeper import Keeper, copied
from resnet_lab.recording.measured import Measured, MeasuredBlock
from resnet_lab.recording.norms import euclidean_norms
from resnet_lab.recording.quantity import At
from resnet_lab.recording.random_state import restored_random_state
from resnet_lab.recording.sites import Site, response_sites


@dataclass(frozen=True)
class Probe:
    """Measurements on one batch, float32, on the network's device.

    Attributes:
        activation_gradient_norm: shape (1 + blocks,), in the order of `sites.activation_sites`.
        response_std: shape (main-path convolutions,), in the order of `sites.response_sites`.
        variance_ratio: shape (blocks,), in the order of `sites.block_sites`; None in a plain
            network, whose additions have one term.
        kept: the tensors requested by `keep`, in the order of `quantity.SITES`.
    """

    activation_gradient_norm: Tensor
    response_std: Tensor
    variance_ratio: Tensor | None
    kept: Mapping[At, Sequence[Measured]] = field(default_factory=dict)

    @property
    def maps(self) -> list[Tensor]:
        """Outputs of the stem and of every block, if "block" is among `kept`."""
        blocks = cast(Sequence[MeasuredBlock], self.kept["block"])
        return [blocks[0].input, *(block.output for block in blocks)]


def probe(network: Network, images: Tensor, labels: Tensor, keep: Set[At] = frozenset()) -> Probe:
    """Measure `network` on `images` (N, C, H, W) with `labels` (N,), in training mode.

    Norms use the batch's own statistics, as in training, and the arithmetic is float32 even under
    autocast. Nothing is changed, bit for bit: parameters and their gradients, running statistics,
    modes, and the random state. Nothing synchronises with the device.

    Args:
        network: the network to measure.
        images: the probe batch.
        labels: labels of the images.
        keep: kinds of site whose tensors are kept too. The pass then uses a copy of the network, so
            that the user's functions cannot affect training.
    """
    keeper = None
    if keep:
        network = deepcopy(network).float().requires_grad_()
        images, labels = copied(images), copied(labels)
        keeper = Keeper(network, keep)
    walk = _Walk(network, keeper)
    autocast_off = torch.autocast(images.device.type, enabled=False)
    with _restored(walk, images.device), autocast_off, torch.enable_grad():
        walk.train()
        state = {} if keep else _borrowed_state(walk)
        measured = functional_call(walk, state, (images.float(), labels))
    assert isinstance(measured, Probe)
    return measured


class _Walk(nn.Module):
    """The network's own forward pass, block by block, with measurements on the way."""

    def __init__(self, network: Network, keeper: Keeper | None) -> None:
        super().__init__()
        self.network = network
        self._keeper = keeper

    def forward(self, images: Tensor, labels: Tensor) -> Probe:
        """Measure the network with the parameters and buffers that it holds now."""
        keeper, spec = self._keeper, self.network.spec
        ratios: list[Tensor] = []
        gradients: list[Tensor] = []
        kept_layers = () if keeper is None else keeper.layers
        with (
            _listening(self.network, response_sites(spec), _std) as stds,
            _listening(self.network, kept_layers, copied) as responses,
        ):
            stem = self.network.stem(images)
            if keeper is None:
                # The graph begins at the stem's output: no gradients are computed before it.
                stem = stem.detach().requires_grad_()
            else:
                keeper.stem(stem)
            y = stem
            for _, _, block in self.network.blocks():
                branch, shortcut = block.paths(y)
                if shortcut is not None:
                    ratios.append(_variance(branch) / _variance(shortcut))
                if keeper is not None:
                    keeper.terms(branch, shortcut)
                y = block.after(branch if shortcut is None else branch + shortcut)
                y.register_hook(partial(_append_norm, gradients))  # type: ignore[no-untyped-call]
                if keeper is not None:
                    keeper.output(y)
            logits = self.network.head(y)
            loss = F.cross_entropy(logits, labels)
        parameters = [] if keeper is None else keeper.parameters()
        stem_gradient, *others = torch.autograd.grad(
            loss, [stem, *parameters], materialize_grads=keeper is not None
        )
        _append_norm(gradients, stem_gradient)
        kept: Mapping[At, Sequence[Measured]] = {}
        if keeper is not None:
            kept = keeper.kept((images, labels), logits, loss, responses, others)
        return Probe(
            activation_gradient_norm=torch.cat(gradients[::-1]),  # last block first
            response_std=torch.stack(list(stds.values())),
            variance_ratio=torch.stack(ratios) if ratios else None,
            kept=kept,
        )


def _append_norm(norms: list[Tensor], gradient: Tensor) -> None:
    norms.append(euclidean_norms([gradient]))


def _variance(tensor: Tensor) -> Tensor:
    return tensor.detach().var(correction=0)


def _std(tensor: Tensor) -> Tensor:
    return tensor.detach().std(correction=0)


@contextmanager
def _listening(
    network: Network, sites: Iterable[Site], hear: Callable[[Tensor], Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Yield a dict that fills with `hear` of the response of each site, by name."""
    heard: dict[str, Tensor] = {}

    def listen(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        heard[name] = hear(output)

    with ExitStack() as hooks:
        for site in sites:
            module = network.get_submodule(response_module(network.spec, site))
            hooks.callback(module.register_forward_hook(partial(listen, site.name)).remove)
        yield heard


def response_module(spec: NetworkSpec, site: Site) -> str:
    """Path of the module whose output is the response of the convolution at `site`.

    It is the convolution's own norm if that directly follows the convolution. Else it is the
    convolution: with full pre-activation, whose norms precede their convolutions, and in a block's
    last layer with the norm after the addition (I, Figure 4). A projection ends with its norm.
    """
    if ".shortcut." in site.name:
        return site.name.rpartition(".")[0]
    if site.block == 0:
        return site.name.replace("conv", "norm")
    (table,) = (
        one
        for one in architecture(spec).blocks
        if (one.stage, one.block) == (site.stage, site.block)
    )
    names = [one.name for one in table.residual]
    conv = site.name.rpartition(".")[2]
    norm = conv.replace("conv", "norm")
    behind = names[names.index(conv) + 1 : names.index(conv) + 2]
    return f"{table.name}.{norm if behind == [norm] else conv}"


def _borrowed_state(module: nn.Module) -> dict[str, Tensor]:
    """Return detached parameters and copies of buffers, in float32."""
    parameters = {name: p.detach().float() for name, p in module.named_parameters()}
    buffers = {
        name: b.float().clone() if b.is_floating_point() else b.clone()
        for name, b in module.named_buffers()
    }
    return {**parameters, **buffers}


@contextmanager
def _restored(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore every submodule's mode and the random state on exit."""
    modes = [(child, child.training) for child in module.modules()]
    try:
        with restored_random_state(device):
            yield
    finally:
        for child, mode in modes:
            child.training = mode
