"""Quantities that are recorded on request: against closed forms, by hand, and beside training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from test_recorder import (
    NAMES,
    PROBE_QUANTITIES,
    WEIGHT_QUANTITIES,
    Rows,
    Twins,
    batch_of_nothing,
    built,
    recorder,
    train,
)
from tiny_runs import PAIR, assert_same_result, at_step, info, interrupt, rows, tiny
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import resnet_lab as rl
from analysis.report.explorer import explorer
from resnet_lab.networks.cosine_map import cosine_map, gradient_map
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.registry import AXES, find
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording import responses
from resnet_lab.recording.gradients import (
    gradient_snapshot,
    snapshot,
    update_angles,
    update_cosines,
)
from resnet_lab.recording.quantities import gradient_correlation as gradient_correlation_module
from resnet_lab.recording.quantities.dead_units import dead_units
from resnet_lab.recording.quantities.gradient_correlation import gradient_correlation
from resnet_lab.recording.quantities.representation_cosine import mean_cosine
from resnet_lab.recording.quantities.stable_rank import stable_rank
from resnet_lab.recording.recorder import Recorder
from resnet_lab.recording.responses import probe
from resnet_lab.recording.schedule import RecordingConfig

EXTRA = {
    *("representation_cosine", "stable_rank", "dead_units", "gradient_correlation"),
    *("angle_from_start", "update_cosine"),
}
EVERYTHING = RecordingConfig(quantities="all,extra")


def noise(images: int = 32, channels: int = 16, size: int = 8) -> tuple[Tensor, Tensor]:
    """Images of independent normal pixels: on average at right angles to each other."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, channels, size, size, generator=generator)
    return x, torch.randint(0, 10, (images,), generator=generator)


def network(name: str, channels: int = 16) -> Network:
    return build_network(name, num_classes=10, in_channels=channels)


# The theory


def test_the_map_of_cosines_has_its_published_values() -> None:
    cosine, course = 0.0, {}
    for layer in range(1, 55):
        course[layer] = cosine = cosine_map(cosine)
    assert [course[layer] for layer in (1, 18, 54)] == pytest.approx(
        [0.318, 0.940, 0.989], abs=5e-4
    )
    assert cosine_map(0.3, slope=1.0) == pytest.approx(0.3)
    assert cosine_map(1.0) == 1.0


@pytest.mark.parametrize(("slope", "cosine"), [(0.0, -0.4), (0.0, 0.7), (0.3, 0.2), (0.5, 0.9)])
def test_the_map_of_cosines_is_the_gaussian_integral(slope: float, cosine: float) -> None:
    def product(second: float, first: float) -> float:
        other = cosine * first + math.sqrt(1 - cosine**2) * second
        weight = math.exp(-(first**2 + second**2) / 2) / (2 * math.pi)
        return weight * max(first, slope * first) * max(other, slope * other)

    moment = integrate.dblquad(product, -8, 8, -8, 8, epsabs=1e-6)[0]
    assert cosine_map(cosine, slope) == pytest.approx(moment / ((1 + slope**2) / 2), abs=1e-5)
    step = 1e-6
    rise = cosine_map(cosine + step, slope) - cosine_map(cosine - step, slope)
    assert gradient_map(cosine, slope) == pytest.approx(rise / (2 * step), abs=1e-6)


@pytest.mark.parametrize("name", ["relu", "leaky0.25", "leaky1.0"])
def test_the_growth_of_gradients_is_that_of_the_map_at_0(name: str) -> None:
    activation: Any = find(AXES["activation"], name.removesuffix(".0"))
    expected = (1 - cosine_map(0.0, activation.slope)) ** -0.5
    assert activation.gradient_growth == pytest.approx(expected)


# By hand


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    maps = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.3
    units = maps.flatten(1).double().numpy()
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    pairs = [units[i] @ units[j] for i in range(6) for j in range(i)]
    assert mean_cosine(maps).item() == pytest.approx(np.mean(pairs), rel=1e-5)


@pytest.mark.parametrize("values", [(3.0, 1.0), (2.0, 2.0), (5.0, 4.999)])
def test_the_stable_rank_is_that_of_known_singular_values(values: tuple[float, float]) -> None:
    rows = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])  # centred
    maps = sum(
        value * torch.outer(row / 2, torch.eye(3)[k])
        for k, (value, row) in enumerate(zip(values, rows, strict=True))
    )
    expected = sum(value**2 for value in values) / max(values) ** 2
    assert isinstance(maps, Tensor)
    assert stable_rank(maps + 7.0).item() == pytest.approx(expected, rel=1e-5)


def test_the_stable_rank_is_that_of_a_decomposition_and_nan_where_there_is_none() -> None:
    maps = torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(1)) ** 2
    matrix = maps.flatten(1).numpy()
    values = np.linalg.svd(matrix - matrix.mean(0), compute_uv=False)
    expected = (values**2).sum() / values[0] ** 2
    assert stable_rank(maps).item() == pytest.approx(expected, rel=1e-5)
    assert stable_rank(torch.ones(4, 3)).isnan()
    assert stable_rank(torch.full((4, 3), math.nan)).isnan()


@pytest.mark.parametrize("name", ["plain-8", "resnet-8", "resnet-8-preact"])
def test_dead_units_are_those_that_were_killed(name: str) -> None:
    built = network(name)
    block: Any = built.get_submodule("stage2.block1")
    x = torch.randn(8, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    running = block.norm2.running_mean.clone()
    assert dead_units(block, x).item() == 0
    with torch.no_grad():
        first = block.norm2 if name.endswith("preact") else block.norm1
        first.bias[:6] = -100.0
    channels = 16 + 32 if name.endswith("preact") else 32 + 32
    assert dead_units(block, x).item() == pytest.approx(100 * 6 / channels)
    if name == "plain-8":  # behind the addition
        with torch.no_grad():
            block.norm2.bias[:10] = -100.0
        assert dead_units(block, x).item() == pytest.approx(100 * 16 / 64)
    assert not torch.equal(block.norm2.running_mean, running)  # the recorder gives it a copy
    assert not any(module._forward_hooks for module in block.modules())


def test_leaky_units_do_not_die() -> None:
    block: Any = network("plain-8-leaky0.1").get_submodule("stage1.block1")
    with torch.no_grad():
        block.norm1.bias.fill_(-100.0)
    assert dead_units(block, noise()[0]).item() == 0


def test_gradients_of_a_linear_network_do_not_shatter() -> None:
    built = network("plain-20-leaky1-x0.25", channels=3)
    assert gradient_correlation(built, *noise(8, 3), angle=1.0).item() == pytest.approx(1, abs=1e-5)


def test_the_correlation_is_that_of_gradients_image_by_image() -> None:
    built, (x, y) = network("resnet-8-x0.25-nonorm", channels=3), noise(4, 3)

    def gradient(image: Tensor, label: Tensor) -> np.ndarray:
        image = image.clone().requires_grad_()
        built(image[None])[0, label].backward()
        assert image.grad is not None
        return image.grad.double().numpy().ravel()

    found = []
    for k in range(4):
        beside = math.cos(0.3) * x[k] + math.sin(0.3) * x[(k + 1) % 4]
        a, b = gradient(x[k], y[k]), gradient(beside, y[k])
        found.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    measured = gradient_correlation(built, x, y, angle=0.3).item()
    assert measured == pytest.approx(np.mean(found), abs=1e-5)


def probe_batch_norms_take_the_statistics_of_the_batch_and_keep_their_own() -> None:
    built, (x, y) = network("plain-8-x0.25", channels=3), noise(64, 3)
    before = {name: value.clone() for name, value in built.state_dict().items()}
    measured = gradient_correlation(built, x, y, angle=0.2)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert all(norm.momentum == 0.1 for norm in built.modules() if isinstance(norm, nn.BatchNorm2d))
    with torch.no_grad():
        for norm in built.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                norm.running_mean.fill_(5.0)
    assert torch.equal(gradient_correlation(built, x, y, angle=0.2), measured)


def test_the_cosine_of_updates_is_that_of_sgd_by_hand() -> None:
    built, (x, y) = network("plain-8-x0.25", channels=3), noise(8, 3)
    kernel: Any = built.get_submodule("stem.conv").weight
    sgd = torch.optim.SGD(built.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    gradients, velocity = [], np.zeros(kernel.numel())
    for step in range(2):
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(built(x), y).backward()
        before, now = snapshot(built), gradient_snapshot(built)
        gradients.append(now[0].double().numpy().ravel())
        weights = before[0].double().numpy().ravel()
        velocity = 0.9 * velocity + gradients[step] + 0.01 * weights
        sgd.step()
        expected = velocity @ gradients[step]
        expected /= np.linalg.norm(velocity) * np.linalg.norm(gradients[step])
        measured = update_cosines(built, before, now)
        assert measured[0].item() == pytest.approx(expected, abs=1e-5)
    assert measured.shape == (8,)
    assert update_cosines(built, snapshot(built), now).isnan().all()  # no update


# Against theory, in wide networks


@pytest.mark.parametrize(
    ("name", "tolerance"), [("plain-8-circular-x2", 0.02), ("plain-8-circular-nonorm-x4", 0.03)]
)
@pytest.mark.parametrize("angle", [0.01, 0.1, 0.3])
def test_gradients_shatter_as_theory_says(name: str, tolerance: float, angle: float) -> None:
    built, cosine, expected = network(name), math.cos(angle), 1.0
    for _ in range(7):  # the ReLUs of 8 layers
        expected *= gradient_map(cosine)
        cosine = cosine_map(cosine)
        if built.spec.norm == "batch":  # takes away what images have in common
            cosine = (cosine - cosine_map(0.0)) / (1 - cosine_map(0.0))
    measured = gradient_correlation(built, *noise(), angle=angle).item()
    assert measured == pytest.approx(expected, abs=tolerance)


def test_images_at_right_angles_lose_half_of_it_a_layer() -> None:
    measured = gradient_correlation(network("plain-8-circular-x2"), *noise(64), angle=math.pi / 2)
    assert measured.item() == pytest.approx(2.0**-7, abs=0.01)


def test_residual_gradients_shatter_far_later() -> None:
    def at(name: str) -> float:
        return gradient_correlation(network(f"{name}-circular"), *noise(), angle=0.1).item()

    assert abs(at("plain-20")) < 0.05  # theory: 0.024
    assert at("resnet-20") > 0.3
    assert at("resnet-20-preact") > 0.3


def test_representations_of_a_plain_network_without_norm_follow_the_map() -> None:
    built = network("plain-14-circular-nonorm-x2", channels=3)
    measured = probe(built, *noise(16, 3), keep={"block"}).maps
    cosine, expected = 0.0, []
    for layer in range(1, 14):
        cosine = cosine_map(cosine)
        if layer % 2:
            expected.append(cosine)
    found = [mean_cosine(maps).item() for maps in measured]
    assert found[0] == pytest.approx(1 / math.pi, abs=0.02)
    assert found == pytest.approx(expected, abs=0.16)  # widths of 32 to 128 fluctuate
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.03)


def probe_batch_norm_keeps_the_cosine_at_the_maps_value_for_0() -> None:
    built = network("plain-56-circular-x0.5")
    found = [mean_cosine(maps).item() for maps in probe(built, *noise(), keep={"block"}).maps]
    assert found == pytest.approx([1 / math.pi] * 28, abs=0.05)


def probe_batch_norm_keeps_the_rank_that_deep_linear_networks_lose() -> None:
    def last(name: str) -> float:
        maps = probe(network(name, channels=3), *noise(32, 3), keep={"block"}).maps
        return stable_rank(maps[-1]).item()

    assert last("plain-56-leaky1-circular-x0.5-nonorm") < 2.5
    assert last("plain-56-leaky1-circular-x0.5") > 4


def test_branches_of_block_l_weigh_about_1_over_l() -> None:
    """Each adds variance 1 to the shortcut's, which the stem's ReLU starts at (1 - 1/pi) / 2."""
    ratios = probe(network("resnet-56-circular-preact-x2"), *noise(size=4)).variance_ratio
    assert ratios is not None
    expected = [1 / (block + (1 - 1 / math.pi) / 2) for block in range(9)]
    assert ratios[:9].tolist() == pytest.approx(expected, rel=0.15)


# While training


def test_recording_everything_leaves_training_bit_for_bit_as_it_is() -> None:
    without, found = train(Twins(built), None), Rows()
    recorded = train(Twins(built), recorder(found, config=EVERYTHING))
    assert set(found.column("quantity")) == WEIGHT_QUANTITIES | PROBE_QUANTITIES | EXTRA
    for aspect, expected in without.items():
        torch.testing.assert_close(recorded[aspect], expected, rtol=0, atol=0, msg=aspect)


@pytest.mark.parametrize(
    ("named", "quantities"),
    [
        ("extra", EXTRA),
        ("all, stable_rank", {"stable_rank"} | WEIGHT_QUANTITIES | PROBE_QUANTITIES),
        ("update_cosine,weight_norm", {"update_cosine", "weight_norm"}),
    ],
)
def test_they_are_recorded_where_they_are_named(named: str, quantities: set[str]) -> None:
    found = Rows()
    train(Twins(built), recorder(found, config=RecordingConfig(quantities=named)), steps=1)
    assert set(found.column("quantity")) == quantities


def test_what_is_recorded_is_what_the_functions_give() -> None:
    found, twins = Rows(), Twins(built)
    train(twins, recorder(found, (0, 1, 2, 3), EVERYTHING))
    for name, begun, ended in zip(NAMES, Twins(built).networks, twins.networks, strict=True):
        turned = update_angles(ended, snapshot(begun)).tolist()
        assert found.values(name, 3, "angle_from_start") == pytest.approx(turned, rel=1e-5)
        steps = np.array([found.values(name, step, "update_angle") for step in range(4)])
        assert found.values(name, 0, "angle_from_start") == pytest.approx(steps[0], rel=1e-5)
        assert (np.array(turned) <= steps.sum(0) * (1 + 1e-5)).all()
        cosines = found.values(name, 0, "update_cosine")
        assert np.all(np.array(cosines) > 0.99)  # no momentum yet, little weight decay
        assert np.all(np.array(found.values(name, 3, "update_cosine")) < 0.99)
        measured = probe(begun, *probe_batch(), keep={"block", "network"})
        expected = [mean_cosine(maps).item() for maps in measured.maps]
        assert found.values(name, 0, "representation_cosine") == pytest.approx(expected, rel=1e-5)
        assert len(found.values(name, 0, "dead_units")) == 3
        shattered = gradient_correlation(begun, *probe_batch()).item()
        assert found.values(name, 0, "gradient_correlation") == [pytest.approx(shattered, abs=1e-5)]


def probe_batch() -> tuple[Tensor, Tensor]:
    """The probe batch of `recorder`."""
    from test_recorder import batch

    return batch(99, images=4)


def test_nothing_of_it_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have no values: whatever asks for one fails. Their modules cannot be copied."""
    for module in (responses, gradient_correlation_module):
        monkeypatch.setattr(module, "deepcopy", lambda network: network)
    monkeypatch.setattr(Network, "float", lambda network: network)
    with FakeTensorMode():
        twins = Twins(lambda name: Network(NetworkSpec.parse(name), num_classes=10))
        watching = Recorder(EVERYTHING, [0], batch_of_nothing(), Rows())
        trainer: Any = SimpleNamespace(is_global_zero=True, global_step=0)
        watching.on_train_start(trainer, twins)
        twins.training_step(batch_of_nothing(), 0).backward()  # type: ignore[no-untyped-call]
        watching.on_before_optimizer_step(trainer, twins, twins.configure_optimizers())
        watching.on_train_batch_end(trainer, twins, None, None, 0)
        assert {one.quantity for one in watching._pending} >= EXTRA


def test_a_run_that_records_them_resumes_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra = {"quantities": "all,extra"}
    assert tiny(recording=extra).identity().id != tiny().identity().id
    whole = rl.train(tiny("whole", recording=extra))
    at_step(monkeypatch, 4, interrupt)
    assert info(rl.train(tiny("resumed", recording=extra)))["status"] == "interrupted"
    resumed = rl.train(tiny("resumed", recording=extra))
    assert_same_result(resumed, whole, *PAIR)
    found = explorer(rl.load_runs("whole"))
    assert found is not None
    menu = {one["id"]: one for one in json.loads(found.data)["quantities"]}
    labels = {name: menu[name]["label"] for name in EXTRA}
    assert labels["angle_from_start"] == "angle from the initial weights (radians)"
    assert labels["dead_units"] == "dead channels (%)"
    assert {name for name in EXTRA if menu[name]["log"]} == {"stable_rank", "angle_from_start"}
    assert {name for name in EXTRA if menu[name]["whole"]} == {"gradient_correlation"}
    layers = rows(whole, "layers", PAIR[0])
    turned = layers[layers["quantity"] == "angle_from_start"].pivot(
        index="step", columns="layer", values="value"
    )
    assert (turned.iloc[-1] > turned.iloc[0]).all()
