"""Collection of a network's tensors during a pass of the probe batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from torch import Tensor, nn

from resnet_lab.networks.network import Network
from resnet_lab.recording.measured import Measured, MeasuredBlock, MeasuredLayer, MeasuredNetwork
from resnet_lab.recording.quantity import At
from resnet_lab.recording.sites import Site, block_sites, network_sites, weight_sites


class Keeper:
    """Keeps copies of tensors, as in-place layers would change the originals.

    Args:
        network: a copy that is not trained; gradients are left in its parameters.
        at: the kinds of site whose tensors are kept.
    """

    def __init__(self, network: Network, at: Set[At]) -> None:
        self._network = network
        self._at = at
        self._maps: list[Tensor] = []
        self._terms: list[tuple[Tensor, Tensor | None]] = []
        self._gradients: list[Tensor] = []

    @property
    def layers(self) -> tuple[Site, ...]:
        """The layers whose responses the pass must collect."""
        return weight_sites(self._network.spec) if "layer" in self._at else ()

    def stem(self, output: Tensor) -> None:
        """Keep the input of the first block."""
        if "block" in self._at:
            self._maps.append(copied(output))

    def terms(self, branch: Tensor, shortcut: Tensor | None) -> None:
        """Keep the terms of a block's addition."""
        if "block" in self._at:
            kept = None if shortcut is None else copied(shortcut)
            self._terms.append((copied(branch), kept))

    def output(self, output: Tensor) -> None:
        """Keep a block's output, and its gradient in the backward pass."""
        if "block" in self._at:
            self._maps.append(copied(output))
            output.register_hook(self._gradients.append)  # type: ignore[no-untyped-call]

    def parameters(self) -> list[nn.Parameter]:
        """The parameters whose gradients are to be computed."""
        return list(self._network.parameters())

    def kept(
        self,
        batch: tuple[Tensor, Tensor],
        logits: Tensor,
        loss: Tensor,
        responses: Mapping[str, Tensor],
        grads: Sequence[Tensor],
    ) -> Mapping[At, Sequence[Measured]]:
        """Return everything kept, by kind of site.

        Args:
            batch: images and labels.
            logits: logits of the images.
            loss: loss of the batch.
            responses: responses of `layers`, by name.
            grads: gradients of `parameters`.
        """
        for parameter, gradient in zip(self.parameters(), grads, strict=True):
            parameter.grad = gradient
        names = [name for name, _ in self._network.named_parameters()]
        whole = MeasuredNetwork(
            site=network_sites(self._network.spec)[0],
            module=self._network,
            images=batch[0],
            labels=batch[1],
            logits=logits.detach(),
            loss=loss.detach(),
            gradients=dict(zip(names, grads, strict=True)),
        )
        return {"layer": self._layers(responses), "block": self._blocks(), "network": [whole]}

    def _layers(self, responses: Mapping[str, Tensor]) -> list[MeasuredLayer]:
        modules: list[Any] = [self._network.get_submodule(site.name) for site in self.layers]
        return [
            MeasuredLayer(
                site=site,
                module=module,
                weight=module.weight.detach(),
                gradient=module.weight.grad,
                response=responses[site.name],
            )
            for site, module in zip(self.layers, modules, strict=True)
        ]

    def _blocks(self) -> list[MeasuredBlock]:
        sites = block_sites(self._network.spec)
        gradients = self._gradients[::-1]  # the backward pass runs last block first
        return [
            MeasuredBlock(
                site=sites[k],
                module=self._network.get_submodule(sites[k].name),
                input=self._maps[k],
                branch=branch,
                shortcut=shortcut,
                output=self._maps[k + 1],
                gradient=gradients[k],
            )
            for k, (branch, shortcut) in enumerate(self._terms)
        ]


def copied(tensor: Tensor) -> Tensor:
    """Return a detached copy."""
    return tensor.detach().clone()
