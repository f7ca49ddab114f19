"""The callback that records quantities of a cohort during training.

It does not affect training and never synchronises with the device between flushes: results stay
there as tensors until `flush` moves all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from resnet_lab.networks.network import Network
from resnet_lab.recording.gradients import gradient_snapshot, snapshot
from resnet_lab.recording.moments import AfterUpdate, BeforeUpdate
from resnet_lab.recording.quantity import Needs
from resnet_lab.recording.responses import probe
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.recording.sites import Site

LayerColumns = dict[str, list[Any]]
"""Rows of layers.parquet as equally long columns: network, step, quantity, layer, name, stage,
block, value."""

UPDATES: tuple[Needs, ...] = ("update", "descent", "start")
"""Needs of quantities that are measured after an update."""

COLUMNS = ("network", "step", "quantity", "layer", "name", "stage", "block", "value")


class Watched(Protocol):
    """The attributes and methods of a cohort that the recorder uses."""

    names: Sequence[str]
    networks: Sequence[Network]
    frozen: set[int]

    def member_lr(self, index: int) -> float:
        """Learning rate of member `index` in the coming optimizer step."""
        ...

    def scaled_gradient_norms(self, index: int) -> Tensor:
        """Norms of the gradients that lr multiplies, momentum and decay aside; |g| for SGD."""
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
    """Record the quantities of every member of a cohort at the given steps.

    At each step of `steps`, quantities of gradients and, if there is a `probe_batch`, of the probe
    are measured before clipping and the optimizer's step, and quantities of the update after it.
    Frozen members are left out. In distributed training only rank 0 records.

    `sink` gets the rows (see `LayerColumns`) at each `flush`: when training ends or fails, before a
    checkpoint is saved, and whenever the caller flushes. A run that resumes from a checkpoint
    repeats the recordings of the steps it repeats. The initial weights are part of its checkpoints
    if a quantity needs them.
    """

    def __init__(
        self,
        config: RecordingConfig,
        steps: Iterable[int],
        probe_batch: tuple[Tensor, Tensor] | None,
        sink: Callable[[LayerColumns], None],
    ) -> None:
        self._steps = frozenset(steps) if config.enabled else frozenset()
        self._quantities = config.chosen()
        self._kept = frozenset(one.at for one in self._quantities if one.needs == "tensors")
        probes = self._kept or self._needs("probe")
        self._probe_batch = probe_batch if probes else None
        self._sink = sink
        self._pending: list[_Pending] = []
        self._updates: dict[int, AfterUpdate] = {}
        self._start: dict[int, list[Tensor]] = {}
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the probe batch to the device, once; keep the initial weights if needed."""
        if self._probe_batch is not None and trainer.is_global_zero:
            images, labels = self._probe_batch
            self._probe_batch = images.to(pl_module.device), labels.to(pl_module.device)
        if self._needs("start") and trainer.is_global_zero:
            networks = cast(Watched, pl_module).networks if trainer.global_step == 0 else ()
            self._start |= {index: snapshot(network) for index, network in enumerate(networks)}

    def state_dict(self) -> dict[str, Any]:
        """Return the initial weights if a quantity needs them."""
        return {"start": self._start} if self._start else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the initial weights."""
        self._start = state_dict["start"]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure every member that still trains, if this is a recording step."""
        self._updates.clear()
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
        """Measure the optimizer's update."""
        cohort = cast(Watched, pl_module)
        for index, update in self._updates.items():
            for needs in UPDATES:
                self._measure(needs, update, cohort.names[index], update.network)
        self._updates.clear()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Flush, so that no row from before the checkpoint is lost."""
        self.flush()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Flush."""
        self.flush()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Flush the rows recorded before training failed."""
        self.flush()

    def flush(self) -> None:
        """Move everything pending to the host, in one transfer, and hand it to the sink."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._sink(_columns(pending))

    def _record_member(self, cohort: Watched, index: int) -> None:
        network, name = cohort.networks[index], cohort.names[index]
        lr, scaled = cohort.member_lr(index), partial(cohort.scaled_gradient_norms, index)
        self._measure("gradients", BeforeUpdate(network, lr, scaled), name, network)
        if self._needs(*UPDATES):
            before = snapshot(network)
            gradients = gradient_snapshot(network) if self._needs("descent") else ()
            device = before[0].device
            start = [weight.to(device) for weight in self._start.get(index, ())]
            self._updates[index] = AfterUpdate(network, before, gradients, start)
        if self._probe_batch is not None:
            probed = probe(network, *self._probe_batch, keep=self._kept)
            self._measure("probe", probed, name, network)
            self._measure("tensors", probed, name, network)

    def _needs(self, *needs: Needs) -> bool:
        return any(one.needs in needs for one in self._quantities)

    def _measure(self, needs: Needs, moment: Any, name: str, network: Network) -> None:
        for one in self._quantities:
            if one.needs != needs or (values := one.measure(moment)) is None:
                continue
            sites = one.sites_of(network.spec)
            assert values.shape == (len(sites),)
            self._pending.append(_Pending(name, self._step, one.name, sites, values))


def _columns(pending: Sequence[_Pending]) -> LayerColumns:
    """Return pending values as columns, one row per value, in the order recorded."""
    values = iter(torch.cat([item.values for item in pending]).tolist())
    rows = [
        (item.network, item.step, item.quantity, s.layer, s.name, s.stage, s.block, next(values))
        for item in pending
        for s in item.sites
    ]
    return {
        name: list(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    }
