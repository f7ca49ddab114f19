from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from tiny_runs import (
    PAIR,
    PLAIN,
    RESIDUAL,
    ROOT,
    assert_same_result,
    assert_same_weights,
    at_step,
    info,
    interrupt,
    member,
    resumed,
    rows,
    series,
    tiny,
    weights,
)

from resnet_lab.configuration.config import Config
from resnet_lab.data.load import load_data
from resnet_lab.errors import UserError
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.networks.weights import load_weights
from resnet_lab.training.cohort import Cohort
from resnet_lab.training.evaluation import evaluate
from resnet_lab.training.train import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps, 3 to an epoch."""
    return train(tiny(tmp_path_factory.mktemp("runs"), batch_size=512, drops=[6]))


def train_by_hand(config: Config, name: str) -> tuple[Network, list[float], list[float]]:
    """The same training as a loop of plain PyTorch: network, losses and errors of each step."""
    data, recipe = load_data(config.data), config.recipe
    network = build_network(name, num_classes=10, in_channels=1, seed=config.seed)
    network.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )
    losses, errors = [], []
    for step in range(recipe.iterations):
        sgd.param_groups[0]["lr"] = recipe.lr * 0.1 ** sum(step >= drop for drop in recipe.drops)
        x, y = data.train_batch(step, seed=config.seed, batch_size=recipe.batch_size)
        logits = network(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, y)
        losses.append(loss.item())
        errors.append(100 * (logits.argmax(1) != y).float().mean().item())
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return network, losses, errors


def test_training_equals_a_plain_pytorch_loop_bit_for_bit(finished: Path) -> None:
    config = tiny(batch_size=512, drops=[6])
    for name in PAIR:
        network, losses, errors = train_by_hand(config, name)
        assert_same_weights(weights(finished, name), network.state_dict())
        for metric, values in (("loss", losses), ("error", errors)):
            means = {step: sum(values[step - 4 : step]) / 4 for step in (4, 8, 12)}
            assert series(finished, name, "train", metric) == pytest.approx(means, rel=1e-6)
        final = member(finished, name)["final"]
        assert final["train_error"] == pytest.approx(sum(errors[-3:]) / 3, rel=1e-6)
        assert final["train_loss"] == pytest.approx(sum(losses[-3:]) / 3, rel=1e-6)


def test_logged_learning_rates_are_those_of_the_last_update(finished: Path) -> None:
    assert series(finished, PLAIN, "train", "lr") == pytest.approx({4: 0.1, 8: 0.01, 12: 0.01})


def test_final_errors_are_those_of_the_saved_weights(finished: Path) -> None:
    data = load_data(tiny().data)
    for name in PAIR:
        network = build_network(name, num_classes=10, in_channels=1)
        load_weights(finished / "weights" / f"{name}.pt", network)
        network.to(memory_format=torch.channels_last)
        for split in ("validation", "test"):
            batches = data.evaluation_batches(split, batch_size=500)
            score = evaluate([network], batches, torch.device("cpu"))[0]
            final = member(finished, name)["final"]
            assert (final[f"{split}_error"], final[f"{split}_loss"]) == (score.error, score.loss)
            assert series(finished, name, split, "error")[12] == score.error


def test_test_images_are_evaluated_once_at_the_end(finished: Path) -> None:
    assert list(series(finished, PLAIN, "validation", "error")) == [6, 12]
    assert list(series(finished, PLAIN, "test", "error")) == [12]


def test_a_test_curve_is_drawn_when_asked_for_and_changes_nothing(finished: Path) -> None:
    run = train(tiny(batch_size=512, drops=[6], test_curve=True))
    assert list(series(run, PLAIN, "test", "error")) == [6, 12]
    for name in PAIR:
        assert_same_weights(weights(run, name), weights(finished, name))
        assert member(run, name) == member(finished, name)


def test_a_run_says_where_it_comes_from(finished: Path) -> None:
    told = info(finished)
    config = tiny(batch_size=512, drops=[6])
    assert (told["run"], told["seed"], told["iterations"]) == (config.run_id(), 0, 12)
    assert (told["status"], told["error"], told["step"]) == ("finished", None, 12)
    assert told["data"]["protocol"] == "1294/143"
    assert told["data"]["counts"] == {"train": 1294, "validation": 143, "test": 360}
    origin = told["provenance"]
    assert origin["torch"] == torch.__version__.split("+")[0]
    assert origin["device"] == "cpu (1 threads)"
    assert origin["wall_seconds"] > 0
    assert origin["images_per_second"] > 0
    assert "resumed" not in origin
    assert (finished / "checkpoints").is_dir()
    assert not list((finished / "checkpoints").iterdir())


def test_epochs_count_images(finished: Path) -> None:
    metrics = rows(finished, "metrics")
    assert (metrics["epoch"] == metrics["step"] * 512 / 1294).all()


def test_another_seed_is_another_run() -> None:
    config, other = tiny(iterations=1, network=PLAIN), tiny(iterations=1, network=PLAIN, seed=1)
    run, second = train(config), train(other)
    assert run != second
    assert not torch.equal(
        weights(run, PLAIN)["stem.conv.weight"], weights(second, PLAIN)["stem.conv.weight"]
    )


def test_the_last_steps_are_logged_though_they_fill_no_window() -> None:
    run = train(tiny(iterations=7, log_every=3, network=PLAIN))
    _, losses, _ = train_by_hand(tiny(iterations=7), PLAIN)
    windows = {3: losses[:3], 6: losses[3:6], 7: losses[6:]}
    means = {step: sum(part) / len(part) for step, part in windows.items()}
    assert series(run, PLAIN, "train", "loss") == pytest.approx(means, rel=1e-6)


def test_a_conditional_warm_up_ends_member_by_member(monkeypatch: pytest.MonkeyPatch) -> None:
    means = Cohort.window_means

    def window_means(self: Cohort, steps: int, **how: Any) -> tuple[list[float], list[float]]:
        losses, _ = means(self, steps, **how)
        return losses, [90.0 - self.global_step, 95.0 - self.global_step]

    monkeypatch.setattr(Cohort, "window_means", window_means)
    run = train(tiny(log_every=1, warmup_until_error=87.0, warmup_window=2, warmup_lr=0.02))
    assert [member(run, name)["warmup_ended_at"] for name in PAIR] == [4, 10]
    for name, ended in zip(PAIR, (4, 10), strict=True):
        rates = {step: 0.02 if step <= ended else 0.1 for step in range(1, 13)}
        assert series(run, name, "train", "lr") == rates


def test_a_plateau_lowers_the_learning_rate_of_the_member_that_waits() -> None:
    recipe = {"plateau_patience": 1, "drop_factor": 0.3, "lr": 0.3}
    run = train(tiny(iterations=24, log_every=1, evaluate_every=2, **recipe))
    for name in PAIR:
        best, drops = float("inf"), []
        for step, error in series(run, name, "validation", "error").items():
            if error >= best and step < 24:
                drops.append(step)
            best = min(best, error)
        assert drops
        assert [step for step in member(run, name)["drop_steps"] if step < 24] == drops
        rates = {s: 0.3 * 0.3 ** sum(drop < s for drop in drops) for s in range(1, 25)}
        assert series(run, name, "train", "lr") == pytest.approx(rates, rel=1e-12)
    assert member(run, PLAIN)["drop_steps"] != member(run, RESIDUAL)["drop_steps"]


def test_clipping_bounds_the_first_update() -> None:
    run = train(tiny(iterations=1, clip=0.01, weight_decay=0.0, log_every=1))
    layers = rows(run, "layers")
    recorded = layers[layers["quantity"] == "gradient_norm"]["value"]
    applied = layers[layers["quantity"] == "update_norm"]["value"]
    assert recorded.max() > 0.1  # before clipping
    assert applied.max() <= 0.1 * 0.01 * 1.01  # lr times the limit
    assert applied.max() == pytest.approx(0.1 * 0.01, rel=0.01)


def test_bfloat16_is_for_training_only() -> None:
    run = train(tiny(precision="bfloat16", iterations=4, network=PLAIN))
    exact = train(tiny(iterations=4, network=PLAIN))
    state = weights(run, PLAIN)
    assert state["stem.conv.weight"].dtype == torch.float32
    assert not torch.equal(state["stem.conv.weight"], weights(exact, PLAIN)["stem.conv.weight"])
    found, expected = (series(r, PLAIN, "train", "loss")[4] for r in (run, exact))
    assert found == pytest.approx(expected, rel=0.02)


def test_a_run_without_validation_images_has_no_validation_error() -> None:
    run = train(tiny(data={"protocol": "full"}, iterations=2, network=PLAIN))
    assert set(member(run, PLAIN)["final"]) == {
        "train_error",
        "train_loss",
        "test_error",
        "test_loss",
    }
    assert info(run)["data"]["counts"] == {"train": 1437, "test": 360}


def test_a_run_that_breaks_says_why_and_continues_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_down() -> None:
        raise RuntimeError("the disk is full")

    at_step(monkeypatch, 5, break_down)
    config = tiny(trainer={"checkpoint_seconds": 1e-9})
    with pytest.raises(RuntimeError, match="disk is full"):
        train(config)
    run = next(Path("runs").iterdir())
    assert (info(run)["status"], info(run)["error"]) == (
        "failed",
        "RuntimeError: the disk is full",
    )
    assert train(config) == run
    assert (info(run)["status"], info(run)["error"]) == ("finished", None)
    assert resumed(run) == [5]
    assert_same_result(run, train(tiny("undisturbed")), *PAIR)


def test_a_run_that_cannot_begin_leaves_nothing_behind() -> None:
    with pytest.raises(UserError) as refused:
        train(tiny(batch_size=2000))
    assert str(refused.value) == (
        "batch size 2000 is larger than the training part, 1294 images; use at most 1294"
    )
    assert not Path("runs").exists()


def test_training_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(iterations=2, trainer={"progress": True}))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_images_per_second_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train(tiny(iterations=3, trainer={"progress": True}))
    told = terminal.getvalue()
    assert f"{PLAIN} + {RESIDUAL}"[:40] in told
    assert "img/s" in told
    assert "train error" in told


@pytest.mark.slow
def test_two_processes_train_what_one_trains_with_ghost_batches() -> None:
    runs = {}
    for processes, ghost in ((1, 8), (2, 0)):
        line = f"train --network {','.join(PAIR)} --trainer.device cpu --recipe.batch_size 16"
        line += " --recipe.iterations 6 --recipe.log_every 2 --recipe.evaluate_every 3"
        line += f" --trainer.devices {processes} --recipe.ghost_batch {ghost}"
        line += f" --recording.probe_size 16 --runs-dir {processes}"
        command = [sys.executable, "-m", "resnet_lab", *line.split()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment)
        [runs[processes]] = Path(str(processes)).iterdir()
    alone, together = runs[1], runs[2]
    assert alone.name == together.name
    for name in PAIR:
        assert weights(together, name)["stem.norm.num_batches_tracked"] == 6
        for key, tensor in weights(alone, name).items():
            torch.testing.assert_close(weights(together, name)[key], tensor, rtol=1e-4, atol=1e-5)
        for table in ("metrics", "layers"):
            one, two = rows(alone, table, name), rows(together, table, name)
            pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-5)
        final, expected = (member(run, name)["final"] for run in (together, alone))
        assert final == pytest.approx(expected, rel=1e-4)


def test_a_run_puts_signal_handlers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    at_step(monkeypatch, 2, interrupt)
    run = train(tiny(network=PLAIN))
    assert info(run)["status"] == "interrupted"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


# A judge may end a run, and a run may be kept from the test images


def test_a_judge_sees_each_evaluation_but_the_last_and_can_end_the_run() -> None:
    heard: list[tuple[int, dict[str, dict[str, float]]]] = []

    def judge(step: int, scores: dict[str, dict[str, float]]) -> bool:
        heard.append((step, scores))
        return step == 6

    run = train(tiny(evaluate_every=3), judge=judge)
    assert [step for step, _ in heard] == [3, 6]
    assert all(set(scores) == set(PAIR) for _, scores in heard)
    errors = {step: scores[PLAIN]["error"] for step, scores in heard}
    assert errors == series(run, PLAIN, "validation", "error")
    assert (info(run)["status"], info(run)["step"]) == ("stopped", 6)
    assert not list((run / "weights").iterdir())
    assert rows(run, "metrics")["split"].isin(["train", "validation"]).all()


def test_a_lenient_judge_changes_nothing(finished: Path) -> None:
    config = tiny(batch_size=512, drops=[6], runs_dir="judged")
    run = train(config, judge=lambda step, scores: False)
    assert_same_result(run, finished, *PAIR)


def test_a_stopped_run_can_be_trained_to_its_end(finished: Path) -> None:
    config = tiny(batch_size=512, drops=[6], runs_dir="judged")
    train(config, judge=lambda step, scores: True)
    assert_same_result(train(config), finished, *PAIR)


def test_without_test_images_a_run_has_no_test_error_but_is_otherwise_the_same(
    finished: Path,
) -> None:
    run = train(tiny(batch_size=512, drops=[6], data={"test": False}, test_curve=True))
    for name in PAIR:
        assert_same_weights(weights(run, name), weights(finished, name))
        blind, seeing = member(run, name)["final"], member(finished, name)["final"]
        assert blind == {k: v for k, v in seeing.items() if not k.startswith("test_")}
    assert "test" not in info(run)["data"]["counts"]
    assert info(run)["run"] != info(finished)["run"]


def test_a_training_parses_the_name_of_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = NetworkSpec.parse
    parsed: list[str] = []
    monkeypatch.setattr(NetworkSpec, "parse", lambda name: parsed.append(name) or parse(name))
    train(tiny(iterations=2))
    assert parsed == list(PAIR)
