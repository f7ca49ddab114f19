from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.gradients import (
    gradient_norms,
    snapshot,
    update_angles,
    update_norms,
    weight_norms,
)
from resnet_lab.recording.recorder import COLUMNS, LayerColumns, Recorder
from resnet_lab.recording.responses import probe
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.recording.sites import Site, activation_sites, response_sites, weight_sites

NAMES = ("plain-8-x0.25", "resnet-8-x0.25")
WEIGHT_QUANTITIES = {
    *("gradient_norm", "weight_norm", "relative_update", "update_norm", "update_angle"),
    "total_gradient_norm",
}
PROBE_QUANTITIES = {"activation_gradient_norm", "response_std", "variance_ratio"}


def batch(step: int, images: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(images, 3, 8, 8, generator=generator)
    return x, torch.randint(0, 10, (images,), generator=generator)


class Twins(pl.LightningModule):
    """The least that the recorder watches: members with a learning rate each."""

    def __init__(self, build: Callable[[str], Network], frozen: set[int] | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(build(name) for name in NAMES)
        self.names = NAMES
        self.frozen = frozen or set()

    @property
    def networks(self) -> list[Network]:
        return [cast(Network, member) for member in self.members]

    def member_lr(self, index: int) -> float:
        return (0.1, 0.05)[index]

    def scaled_gradient_norms(self, index: int) -> Tensor:
        return gradient_norms(self.networks[index])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = [
            {"params": list(network.parameters()), "lr": self.member_lr(i)}
            for i, network in enumerate(self.networks)
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=1e-4)

    def training_step(self, data: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = data
        return torch.stack([F.cross_entropy(network(x), y) for network in self.networks]).sum()


def built(name: str) -> Network:
    return build_network(name, num_classes=10)


def train(
    twins: Twins, recorder: Recorder | None, steps: int = 4, *, rank: int = 0
) -> dict[str, Any]:
    """A plain PyTorch loop that calls the recorder where Lightning would. Returns all its state."""
    torch.manual_seed(0)
    optimizer = twins.configure_optimizers()
    trainer: Any = SimpleNamespace(is_global_zero=rank == 0, global_step=0)
    if recorder:
        recorder.on_train_start(trainer, twins)
    for step in range(steps):
        optimizer.zero_grad()
        twins.training_step(batch(step), step).backward()  # type: ignore[no-untyped-call]
        if recorder:
            recorder.on_before_optimizer_step(trainer, twins, optimizer)
        optimizer.step()
        trainer.global_step += 1
        if recorder:
            recorder.on_train_batch_end(trainer, twins, None, None, step)
    if recorder:
        recorder.on_train_end(trainer, twins)
    return {
        "state": twins.state_dict(),
        "optimizer": optimizer.state_dict(),
        "gradients": [parameter.grad for parameter in twins.parameters()],
        "modes": [module.training for module in twins.modules()],
        "random": torch.get_rng_state(),
    }


class Rows:
    """A sink that keeps what it is given, and finds values in it."""

    def __init__(self) -> None:
        self.flushed: list[LayerColumns] = []

    def __call__(self, columns: LayerColumns) -> None:
        self.flushed.append(columns)

    def column(self, name: str) -> list[Any]:
        return [value for columns in self.flushed for value in columns[name]]

    def values(self, network: str, step: int, quantity: str) -> list[float]:
        keys = zip(
            *(self.column(name) for name in ("network", "step", "quantity", "value")), strict=True
        )
        return [value for *key, value in keys if key == [network, step, quantity]]


def recorder(
    rows: Rows, steps: tuple[int, ...] = (0, 2, 3), config: RecordingConfig | None = None
) -> Recorder:
    return Recorder(config or RecordingConfig(), steps, batch(99, images=4), rows)


def test_recording_leaves_training_bit_for_bit_as_it_is() -> None:
    without, rows = train(Twins(built), None), Rows()
    recorded = train(Twins(built), recorder(rows))
    assert rows.column("value")
    for aspect, expected in without.items():
        torch.testing.assert_close(recorded[aspect], expected, rtol=0, atol=0, msg=aspect)


def test_the_first_rows_are_the_measurements_of_the_first_step() -> None:
    rows, twins = Rows(), Twins(built)
    before = copy.deepcopy(twins)
    train(twins, recorder(rows), steps=1)
    before.training_step(batch(0), 0).backward()  # type: ignore[no-untyped-call]
    for i, (name, network) in enumerate(zip(NAMES, before.networks, strict=True)):
        gradients, weights = gradient_norms(network), weight_norms(network)
        assert rows.values(name, 0, "gradient_norm") == gradients.tolist()
        assert rows.values(name, 0, "weight_norm") == weights.tolist()
        relative = before.member_lr(i) * gradients / weights
        assert rows.values(name, 0, "relative_update") == pytest.approx(relative.tolist())
        whole = torch.cat(
            [one.grad.flatten() for one in network.parameters() if one.grad is not None]
        )
        total = whole.double().norm().item()
        assert rows.values(name, 0, "total_gradient_norm") == [pytest.approx(total, rel=1e-6)]
        measured = probe(network, *batch(99, images=4))
        expected = measured.activation_gradient_norm.tolist()
        assert rows.values(name, 0, "activation_gradient_norm") == expected
        assert rows.values(name, 0, "response_std") == measured.response_std.tolist()
        ratios = measured.variance_ratio
        assert rows.values(name, 0, "variance_ratio") == ([] if ratios is None else ratios.tolist())
        applied = update_norms(twins.networks[i], snapshot(network)).tolist()
        assert rows.values(name, 0, "update_norm") == pytest.approx(applied)
        turned = update_angles(twins.networks[i], snapshot(network)).tolist()
        assert rows.values(name, 0, "update_angle") == pytest.approx(turned)


def test_the_update_of_a_later_step_is_its_own() -> None:
    rows, shorter, longer = Rows(), Twins(built), Twins(built)
    train(shorter, None, steps=2)
    train(longer, recorder(rows), steps=3)
    applied = update_norms(longer.networks[1], snapshot(shorter.networks[1]))
    assert rows.values(NAMES[1], 2, "update_norm") == pytest.approx(applied.tolist())
    turned = update_angles(longer.networks[1], snapshot(shorter.networks[1]))
    assert rows.values(NAMES[1], 2, "update_angle") == pytest.approx(turned.tolist())


def test_rows_are_recorded_at_the_steps_asked_for_and_carry_their_sites() -> None:
    rows = Rows()
    train(Twins(built), recorder(rows))
    assert sorted(set(rows.column("step"))) == [0, 2, 3]
    assert set(rows.column("quantity")) == WEIGHT_QUANTITIES | PROBE_QUANTITIES
    found = set(
        zip(*(rows.column(name) for name in COLUMNS if name not in ("step", "value")), strict=True)
    )
    for name in NAMES:
        spec = NetworkSpec.parse(name)
        for quantity, sites in (
            ("update_norm", weight_sites(spec)),
            ("response_std", response_sites(spec)),
            ("activation_gradient_norm", activation_sites(spec)),
            ("total_gradient_norm", (Site(0, "", 0, 0),)),
        ):
            expected = {(name, quantity, s.layer, s.name, s.stage, s.block) for s in sites}
            assert {row for row in found if row[:2] == (name, quantity)} == expected


def test_columns_are_equally_long_and_of_host_types() -> None:
    rows = Rows()
    train(Twins(built), recorder(rows), steps=1)
    (columns,) = rows.flushed
    assert tuple(columns) == COLUMNS
    kinds = [{type(value) for value in columns[name]} for name in COLUMNS]
    assert kinds == [{str}, {int}, {str}, {int}, {str}, {int}, {int}, {float}]
    assert len({len(column) for column in columns.values()}) == 1


def test_a_frozen_member_is_left_out() -> None:
    rows = Rows()
    train(Twins(built, frozen={0}), recorder(rows))
    assert set(rows.column("network")) == {NAMES[1]}


def test_values_that_are_not_finite_are_recorded() -> None:
    rows, twins = Rows(), Twins(built)
    with torch.no_grad():
        next(twins.networks[0].parameters()).fill_(math.inf)
    train(twins, recorder(rows), steps=1)
    assert rows.values(NAMES[0], 0, "weight_norm")[0] == math.inf
    assert math.isnan(rows.values(NAMES[0], 0, "gradient_norm")[0])
    assert all(map(math.isfinite, rows.values(NAMES[1], 0, "gradient_norm")))


@pytest.mark.parametrize(
    ("config", "quantities"),
    [
        (RecordingConfig(enabled=False), set()),
        (RecordingConfig(probe=False), WEIGHT_QUANTITIES),
        (RecordingConfig(), WEIGHT_QUANTITIES | PROBE_QUANTITIES),
    ],
)
def test_the_configuration_chooses_what_is_recorded(
    config: RecordingConfig, quantities: set[str]
) -> None:
    rows = Rows()
    train(Twins(built), recorder(rows, config=config), steps=1)
    assert set(rows.column("quantity")) == quantities


def test_without_a_probe_batch_the_weights_are_recorded_alone() -> None:
    rows = Rows()
    train(Twins(built), Recorder(RecordingConfig(), [0], None, rows), steps=1)
    assert set(rows.column("quantity")) == WEIGHT_QUANTITIES


def test_only_the_first_process_records() -> None:
    rows = Rows()
    train(Twins(built), recorder(rows), rank=1)
    assert rows.flushed == []


@pytest.mark.parametrize("hook", ["on_save_checkpoint", "on_exception"])
def test_rows_are_handed_over_once_when_training_stops_short(hook: str) -> None:
    rows = Rows()
    watching = recorder(rows, steps=(0,))
    trainer: Any = SimpleNamespace(is_global_zero=True, global_step=0)
    twins = Twins(built)
    twins.training_step(batch(0), 0).backward()  # type: ignore[no-untyped-call]
    watching.on_before_optimizer_step(trainer, twins, twins.configure_optimizers())
    assert rows.flushed == []
    for _ in range(2):
        getattr(watching, hook)(trainer, twins, None)
    assert len(rows.flushed) == 1
    assert rows.values(NAMES[0], 0, "gradient_norm") == gradient_norms(twins.networks[0]).tolist()


def test_nothing_waits_for_the_device_before_the_flush() -> None:
    """Fake tensors have no values: whatever asks for one fails, as `flush` must."""
    with FakeTensorMode():
        twins = Twins(lambda name: Network(NetworkSpec.parse(name), num_classes=10))
        watching = Recorder(RecordingConfig(), [0, 1], batch_of_nothing(), Rows())
        trainer: Any = SimpleNamespace(is_global_zero=True, global_step=0)
        twins.training_step(batch_of_nothing(), 0).backward()  # type: ignore[no-untyped-call]
        watching.on_train_start(trainer, twins)
        watching.on_before_optimizer_step(trainer, twins, twins.configure_optimizers())
        watching.on_train_batch_end(trainer, twins, None, None, 0)
        with pytest.raises(DataDependentOutputException):
            watching.flush()


def batch_of_nothing() -> tuple[Tensor, Tensor]:
    return torch.empty(4, 3, 8, 8), torch.empty(4, dtype=torch.long)


class Batches(torch.utils.data.IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Any:
        return (batch(step) for step in range(4))


def train_with_lightning(twins: Twins, callbacks: list[pl.Callback]) -> None:
    loader = torch.utils.data.DataLoader(Batches(), batch_size=None)
    trainer = pl.Trainer(
        max_steps=4,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1e-3,
    )
    trainer.fit(twins, loader)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated")
def test_lightning_calls_the_recorder_at_its_steps_and_before_it_clips() -> None:
    rows, recorded, alone = Rows(), Twins(built), Twins(built)
    train_with_lightning(recorded, [recorder(rows)])
    train_with_lightning(alone, [])
    torch.testing.assert_close(recorded.state_dict(), alone.state_dict(), rtol=0, atol=0)
    assert sorted(set(rows.column("step"))) == [0, 2, 3]
    fresh = Twins(built)
    fresh.training_step(batch(0), 0).backward()  # type: ignore[no-untyped-call]
    expected = gradient_norms(fresh.networks[0]).tolist()
    assert rows.values(NAMES[0], 0, "gradient_norm") == pytest.approx(expected, rel=1e-5)
    assert max(rows.values(NAMES[0], 0, "update_norm")) < 1.1e-4  # lr 0.1, clipped to 1e-3
