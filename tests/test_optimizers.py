"""Optimizers: single steps by hand, cohorts, resuming, and the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_cohort import poison
from tiny_runs import (
    PAIR,
    PLAIN,
    RESIDUAL,
    ROOT,
    assert_same_result,
    at_step,
    info,
    interrupt,
    member,
    rows,
    tiny,
)
from torch import Tensor

import resnet_lab as rl
from analysis.groups import split_groups
from resnet_lab.configuration.optimizers import OPTIMIZERS
from resnet_lab.errors import UserError
from resnet_lab.parts import files
from resnet_lab.training.train import train

RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "lr": 0.01, "beta2": 0.99, "clip": 0.5},
    "lars": {"optimizer": "lars", "lr": 2.0, "trust_coefficient": 0.02, "drops": [9]},
    "own": {"optimizer": "decaying", "lr": 0.01, "weight_decay": 0.02, "warmup_steps": 4},
}
FILE = """
import resnet_lab as rl
import torch

@rl.optimizer("decaying")
def decaying(parameters, recipe):
    return torch.optim.RMSprop(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    rl.load_parts(path)
    yield path
    files.forget_files()


def step(name: str, *gradients: list[float], recipe: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The weights [[3, 4]] and [2] after steps along these gradients, the bias's its first."""
    weight, bias = torch.tensor([[3.0, 4.0]]), torch.tensor([2.0])
    groups = [{"params": [one.requires_grad_() for one in (weight, bias)]}]
    config = rl.RecipeConfig(optimizer=name, **recipe)
    made = OPTIMIZERS.get(name).make(groups, config, torch.device("cpu"))
    for gradient in gradients:
        weight.grad, bias.grad = torch.tensor([gradient]), torch.tensor(gradient[:1])
        made.step()
    return weight.detach(), bias.detach()


def test_lars_takes_the_steps_of_its_formula() -> None:
    # |w| = 5, |g| = 10: r = 0.01 * 5 / (10 + 0.1 * 5) and v = lr r (g + 0.1 w).
    recipe = {"lr": 2.0, "momentum": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.01}
    rate = 2.0 * 0.05 / 10.5
    weight, bias = step("lars", [6.0, 8.0], recipe=recipe)
    first = rate * torch.tensor([[6.3, 8.4]])
    torch.testing.assert_close(weight, torch.tensor([[3.0, 4.0]]) - first)
    torch.testing.assert_close(bias, torch.tensor([2.0 - 2.0 * 6.0]))  # no rate, no decay

    weight, bias = step("lars", [6.0, 8.0], [0.0, 0.0], recipe=recipe)
    decay = 2.0 * 0.1 * (torch.tensor([[3.0, 4.0]]) - first)  # of no gradient: r = 1
    torch.testing.assert_close(weight, torch.tensor([[3.0, 4.0]]) - 1.5 * first - decay)
    torch.testing.assert_close(bias, torch.tensor([2.0 - 12.0 - 6.0]))


def test_adamw_takes_the_steps_of_its_formula() -> None:
    # The first step is lr sign(g) but for eps, beside a decay that knows no gradient.
    recipe = {"lr": 0.1, "momentum": 0.5, "beta2": 0.75, "eps": 1e-8, "weight_decay": 0.2}
    weight, bias = step("adamw", [6.0, -8.0], recipe=recipe)
    torch.testing.assert_close(
        weight, torch.tensor([[3.0, 4.0]]) * 0.98 - torch.tensor([0.1, -0.1])
    )
    torch.testing.assert_close(bias, torch.tensor([2.0 * 0.98 - 0.1]))

    # m = (0.5 * 3 + 0.5 * 0) / 0.75, v = (0.75 * 9 + 0.25 * 0) / 0.4375
    _, bias = step("adamw", [6.0, -8.0], [0.0, 0.0], recipe=recipe)
    update = 0.1 * (1.5 / 0.75) / (6.75 / 0.4375) ** 0.5
    torch.testing.assert_close(bias, torch.tensor([(2.0 * 0.98 - 0.1) * 0.98 - update]))


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_relative_updates_are_the_steps_without_momentum_and_decay(name: str) -> None:
    recipe = rl.RecipeConfig(optimizer=name, momentum=0.0, weight_decay=0.0, lr=0.1)
    weight = torch.tensor([[3.0, 4.0]], requires_grad=True)
    part = OPTIMIZERS.get(name)
    made = part.make([{"params": [weight]}], recipe, torch.device("cpu"))
    for gradient in ([6.0, 8.0], [1.0, -2.0], [0.5, 0.1]):
        weight.grad, before = torch.tensor([gradient]), weight.detach().clone()
        scaled = part.scaled_gradient(weight, made.param_groups[0], made.state.get(weight, {}))
        made.step()
        torch.testing.assert_close(before - weight.detach(), 0.1 * scaled)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_pair_trains_resumes_and_diverges_as_with_sgd(
    recipe: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"iterations": 20, "log_every": 8, **recipe}
    together = train(tiny("together", **settings))
    alone = train(tiny("alone", network=RESIDUAL, trainer={"loop": "plain"}, **settings))
    assert_same_result(together, alone, RESIDUAL)
    assert member(together, RESIDUAL) == member(alone, RESIDUAL)

    for stop in (4, 7, 13):
        at_step(monkeypatch, stop - 1, interrupt)
        resumed = train(tiny("resumed", **settings))
    assert train(tiny("resumed", **settings)) == resumed
    assert_same_result(resumed, together, *PAIR)

    poison(monkeypatch, {PLAIN: 4})
    diverged = train(tiny("diverged", **settings))
    assert member(diverged, PLAIN)["diverged_at"] == 4
    assert_same_result(diverged, alone, RESIDUAL)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_the_graphs_program_gives_the_same_bits(
    recipe: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"iterations": 40, "log_every": 20, "evaluate_every": 20, **recipe}
    runs = []
    for loop in ("plain", "graph"):
        monkeypatch.setattr("resnet_lab.training.train.choose_loop", lambda *_, loop=loop: loop)
        runs.append(train(tiny(loop, **settings)))
        assert info(runs[-1])["provenance"]["loop"] == loop
    assert_same_result(runs[1], runs[0], *PAIR)


@pytest.mark.slow  # test_extending kills one too, at some step
def test_a_killed_run_of_an_own_optimizer_continues_with_equal_bits(file: Path) -> None:
    settings = {"optimizer": "decaying", "lr": 0.01}
    script = f"""
        import os, signal, pytest, torch
        torch.set_num_threads({torch.get_num_threads()})
        import resnet_lab as rl
        from tiny_runs import at_step, tiny
        rl.load_parts({str(file)!r})
        at_step(pytest.MonkeyPatch(), 9, lambda: os.kill(os.getpid(), signal.SIGKILL))
        rl.train(tiny("killed", trainer={{"checkpoint_steps": 3}}, **{settings}))
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env={**os.environ, "PYTHONPATH": path}
    )
    run = train(tiny("killed", trainer={"checkpoint_steps": 3}, **settings))
    assert info(run)["provenance"]["resumed"][0]["step"] in (3, 6, 9)
    assert_same_result(run, train(tiny("whole", **settings)), *PAIR)


def test_the_identity_knows_the_optimizer_and_the_users_file(file: Path) -> None:
    sgd, adamw = tiny().identity(), tiny(optimizer="adamw").identity()
    assert tiny(optimizer="sgd").identity() == sgd
    assert "code" not in {**sgd.content, **adamw.content}
    assert adamw.content["recipe"] == {**sgd.content["recipe"], "optimizer": "adamw"}
    own = tiny(optimizer="decaying").identity()
    assert own.content["code"] == {"parts.optimizer.decaying": rl.load_parts(file)[:16]}
    file.write_text(FILE.replace("RMSprop", "Adagrad"))
    rl.load_parts(file)
    assert tiny(optimizer="decaying").identity().id != own.id


def test_groups_of_runs_are_split_by_the_optimizer_and_say_it() -> None:
    for optimizer in ("sgd", "adamw", "lars"):
        train(tiny(optimizer=optimizer, iterations=2, recording={"enabled": False}))
    labels = [group.label for group in split_groups(rl.load_runs("runs"))]
    start, end = "digits, protocol 1294/143, 2 iterations, batch 16, lr 0.1", "width x0.25"
    assert sorted(labels) == [f"{start}, {one}{end}" for one in ("adamw, ", "lars, ", "")]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv', did you mean 'adamw'? Known"),
        (
            {"optimizer": "adamw", "nesterov": True},
            "recipe.nesterov is True, but the optimizer 'adamw' does not use it: leave it out. It "
            "uses lr, momentum, weight_decay, beta2, eps",
        ),
        ({"beta2": 0.9}, "recipe.beta2 is 0.9, but the optimizer 'sgd' does not use it"),
        ({"optimizer": "lars", "eps": 1e-3}, "recipe.eps is 0.001, but the optimizer 'lars' does"),
        ({"optimizer": "adamw", "beta2": 1.0}, "recipe.beta2 is 1.0: give a number in [0, 1)"),
        ({"trust_coefficient": 0.0}, "recipe.trust_coefficient is 0.0: give a positive number"),
    ],
)  # fmt: skip
def test_what_an_optimizer_does_not_use_is_refused(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        tiny(**recipe)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("returned", "recipe", "message"),
    [
        ("None", {}, "optimizer 'mine' returned a NoneType: return a torch.optim.Optimizer"),
        ("1 / 0", {}, "optimizer 'mine' fails: ZeroDivisionError: division by zero"),
        ("torch.optim.SGD(parameters[:1], lr=1)", {}, "optimizer 'mine' has other "),
        ("torch.optim.SGD(parameters, lr=recipe.Lr)", {}, "optimizer 'mine' fails: Attribut"),
        (
            "torch.optim.SGD(parameters, lr=recipe.lr)",
            {"weight_decay": 0.1},
            "recipe.weight_decay is 0.1, but the optimizer 'mine' does not use it: leave it out. "
            "It uses lr",
        ),
    ],
)  # fmt: skip
def test_an_own_optimizer_that_cannot_be_used_says_why_and_leaves_no_run(
    returned: str, recipe: dict[str, Any], message: str, file: Path
) -> None:
    file.write_text(
        "import resnet_lab as rl, torch\n@rl.optimizer('mine')\ndef mine(parameters, recipe):\n"
        f"    return {returned}\n"
    )
    rl.load_parts(file)
    with pytest.raises(UserError) as refused:
        train(tiny(optimizer="mine", **recipe))
    assert str(refused.value).startswith(message)
    assert not list(Path("runs").rglob("run.json"))


def test_a_name_that_is_taken_or_a_part_that_is_no_function_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="optimizer 'sgd' is there already"):
        rl.optimizer("sgd")(lambda parameters, recipe: None)
    with pytest.raises(UserError, match="optimizer 'mine': 3 is no function"):
        rl.optimizer("mine")(3)  # type: ignore[type-var]


def test_recordings_of_adamw_hold_its_own_relative_update() -> None:
    run = train(tiny(optimizer="adamw", lr=0.01, iterations=2))
    frame = rows(run, "layers", PLAIN).pivot(
        index=["step", "layer"], columns="quantity", values="value"
    )
    first = frame.loc[0].drop(index=0)  # the network's own row
    plain = 0.01 * first["gradient_norm"] / first["weight_norm"]
    assert (first["relative_update"] > 2 * plain).all()
    momentless = first["update_norm"] / first["weight_norm"]  # at step 0 all but the decay
    assert first["relative_update"].to_numpy() == pytest.approx(momentless.to_numpy(), rel=0.01)
