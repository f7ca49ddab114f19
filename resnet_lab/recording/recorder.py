"""The callback that watches a cohort train: it calls the measurements and keeps their results.

It changes nothing that training can see, and on the training path it never waits for the device:
results stay there as tensors until `flush` moves all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from resnet_lab.networks.network import Network
from resnet_lab.recording.gradients import (
    gradient_norms,
    relative_updates,
    snapshot,
    update_angles,
    update_norms,
    weight_norms,
)
from resnet_lab.recording.responses import probe
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.recording.sites import (
    Site,
    activation_sites,
    block_sites,
    response_sites,
    weight_sites,
)

LayerColumns = dict[str, list[Any]]
"""Rows of layers.parquet as equally long columns: network, step, quantity, layer, name, stage,
block, value."""

COLUMNS = ("network", "step", "quantity", "layer", "name", "stage", "block", "value")


class Watched(Protocol):
    """What the recorder reads of the module that trains a cohort."""

    names: Sequence[str]
    networks: Sequence[Network]
    frozen: set[int]

    def member_lr(self, index: int) -> float:
        """Learning rate of member `index` in the optimizer step about to be taken."""
        ...

    def scaled_gradient_norms(self, index: int) -> Tensor:
        """Norms of what that rate multiplies, momentum and decay aside; |g| for SGD."""
        ...


@dataclass(frozen=True)
class _Pending:
    """One quantity of one network at one step, its values still on the device."""

    network: str
    step: int
    quantity: str
    sites: tuple[Site, ...]
    values: Tensor


class Recorder(pl.Callback):
    """Record every member of a cohort at the given steps.

    At the steps of `steps`, before the optimiser's step and any clipping: gradient_norm,
    weight_norm and relative_update of every weighted layer and, on `probe_batch` where there is
    one, activation_gradient_norm, response_std and variance_ratio; after the step, update_norm and
    update_angle.
    Frozen members are left out. Under distributed training rank 0 alone records.

    `sink` is given the rows (see `LayerColumns`) at each `flush`: when training ends or breaks
    off, before a checkpoint is saved, and whenever the caller flushes. A run that resumes from a
    checkpoint repeats the recordings of the steps it repeats.
    """

    def __init__(
        self,
        config: RecordingConfig,
        steps: Iterable[int],
        probe_batch: tuple[Tensor, Tensor] | None,
        sink: Callable[[LayerColumns], None],
    ) -> None:
        self._steps = frozenset(steps) if config.enabled else frozenset()
        self._probe_batch = probe_batch if config.probe else None
        self._sink = sink
        self._pending: list[_Pending] = []
        self._before: dict[int, list[Tensor]] = {}
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the probe batch to the device, once."""
        if self._probe_batch is not None and trainer.is_global_zero:
            images, labels = self._probe_batch
            self._probe_batch = images.to(pl_module.device), labels.to(pl_module.device)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure every member that still trains, if this is a recording step."""
        self._before.clear()
        if not trainer.is_global_zero or trainer.global_step not in self._steps:
            return
        self._step = trainer.global_step
        cohort = cast(Watched, pl_module)
        for index in range(len(cohort.networks)):
            if index not in cohort.frozen:
                self._record_member(cohort, index)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure the update that the optimiser has applied."""
        cohort = cast(Watched, pl_module)
        for index, before in self._before.items():
            network = cohort.networks[index]
            sites = weight_sites(network.spec)
            name = cohort.names[index]
            self._keep(name, "update_norm", sites, update_norms(network, before))
            self._keep(name, "update_angle", sites, update_angles(network, before))
        self._before.clear()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Flush, so that no row of a step before the checkpoint can be lost."""
        self.flush()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Flush."""
        self.flush()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Flush what was recorded before training broke off."""
        self.flush()

    def flush(self) -> None:
        """Move everything pending to the host, in one transfer, and hand it to the sink."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._sink(_columns(pending))

    def _record_member(self, cohort: Watched, index: int) -> None:
        network, name = cohort.networks[index], cohort.names[index]
        sites = weight_sites(network.spec)
        gradients, weights = gradient_norms(network), weight_norms(network)
        scaled = cohort.scaled_gradient_norms(index)
        updates = relative_updates(scaled, weights, cohort.member_lr(index))
        self._keep(name, "gradient_norm", sites, gradients)
        self._keep(name, "weight_norm", sites, weights)
        self._keep(name, "relative_update", sites, updates)
        self._before[index] = snapshot(network)
        if self._probe_batch is not None:
            self._record_probe(network, name, self._probe_batch)

    def _record_probe(self, network: Network, name: str, batch: tuple[Tensor, Tensor]) -> None:
        measured, spec = probe(network, *batch), network.spec
        gradients, responses = measured.activation_gradient_norm, measured.response_std
        self._keep(name, "activation_gradient_norm", activation_sites(spec), gradients)
        self._keep(name, "response_std", response_sites(spec), responses)
        if measured.variance_ratio is not None:
            self._keep(name, "variance_ratio", block_sites(spec), measured.variance_ratio)

    def _keep(self, network: str, quantity: str, sites: tuple[Site, ...], values: Tensor) -> None:
        assert values.shape == (len(sites),)
        self._pending.append(_Pending(network, self._step, quantity, sites, values))


def _columns(pending: Sequence[_Pending]) -> LayerColumns:
    """Lay pending values out as one row a value, in the order in which they were recorded."""
    values = iter(torch.cat([item.values for item in pending]).tolist())
    rows = [
        (item.network, item.step, item.quantity, s.layer, s.name, s.stage, s.block, next(values))
        for item in pending
        for s in item.sites
    ]
    return {
        name: list(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    }
