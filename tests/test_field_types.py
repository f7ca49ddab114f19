"""Every field of the configuration's classes holds what its annotation says, or is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from resnet_lab.configuration.config import Config, TrainerConfig, WandbConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.config import DataConfig
from resnet_lab.errors import UserError
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.training.train import train

SECTIONS = (Config, DataConfig, RecipeConfig, RecordingConfig, TrainerConfig, WandbConfig)
KINDS = (*SECTIONS, NetworkSpec)
GIVEN: dict[type, dict[str, Any]] = {NetworkSpec: {"depth": 56, "shortcut": "A"}}
FIELDS = [(kind, field.name) for kind in KINDS for field in fields(kind)]
STRANGE = [object(), b"x", {"a": 1}, ["x", 1], 1j, {1}, float("nan"), "", int, RecipeConfig]


def make(kind: type, **values: Any) -> Any:
    return kind(**{**GIVEN.get(kind, {}), **values})


def allows(kind: type, name: str, value: Any) -> bool:
    hint = get_type_hints(kind)[name]
    return type(value) in (hint, *get_args(hint))


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{k.__name__}.{n}" for k, n in FIELDS])
def test_what_is_of_no_use_in_a_field_is_refused_with_its_name(kind: type, name: str) -> None:
    for value in [*STRANGE, None, "zzz", 1.5, True]:
        if not allows(kind, name, value):
            with pytest.raises(UserError, match=name):
                make(kind, **{name: value})


WRONG: list[tuple[type, dict[str, Any], str]] = [
    (
        RecipeConfig,
        {"precision": "float16"},
        "recipe: unknown precision 'float16', did you mean 'bfloat16'? "
        "(known: float32, bfloat16, auto)",
    ),
    (
        RecipeConfig,
        {"clip_scope": "foo"},
        "recipe: unknown clip_scope 'foo' (known: layer, network)",
    ),
    (
        Config,
        {"tracking": "wandbb"},
        "unknown tracking 'wandbb', did you mean 'wandb'? (known: none, wandb)",
    ),
    (
        TrainerConfig,
        {"device": "gpu"},
        "trainer: unknown device 'gpu' (known: auto, cpu, cuda, mps)",
    ),
    (
        TrainerConfig,
        {"loop": "grahp"},
        "trainer: unknown loop 'grahp', did you mean 'graph'? "
        "(known: auto, plain, stretches, graph)",
    ),
    (RecipeConfig, {"lr": "0.1"}, "recipe.lr is '0.1': give a number"),
    (RecipeConfig, {"lr": True}, "recipe.lr is True: give a number"),
    (RecipeConfig, {"lr": None}, "recipe.lr is null: give a value, or leave it out"),
    (RecipeConfig, {"lr": 10**400}, f"recipe.lr is {10**400}: give a number"),
    (RecipeConfig, {"clip": float("inf")}, "recipe.clip is inf: give a positive norm, or null for"),
    (RecipeConfig, {"clip": "0.1"}, "recipe.clip is '0.1': give a number or null"),
    (RecipeConfig, {"iterations": 1e3}, "recipe.iterations is 1000.0: give a whole number, such"),
    (RecipeConfig, {"iterations": True}, "recipe.iterations is True: give a whole number"),
    (RecipeConfig, {"nesterov": 1}, "recipe.nesterov is 1: give true or false"),
    (RecipeConfig, {"nesterov": "no"}, "recipe.nesterov is 'no': give true or false"),
    (
        RecipeConfig,
        {"compile": "aut"},
        "recipe.compile is 'aut': give true or false or 'auto', did you mean 'auto'?",
    ),
    (RecipeConfig, {"drops": 10}, "recipe.drops is 10: give a list of whole numbers"),
    (RecipeConfig, {"drops": "10"}, "recipe.drops is '10': give a list of whole numbers"),
    (RecipeConfig, {"drops": ["10"]}, "recipe.drops is ['10']: give a list of whole numbers"),
    (RecipeConfig, {"drops": {10}}, "recipe.drops is {10}: give a list of whole numbers"),
    (TrainerConfig, {"devices": "2"}, "trainer.devices is '2': give a whole number or 'all'"),
    (
        TrainerConfig,
        {"checkpoint_seconds": float("inf")},
        "trainer.checkpoint_seconds is inf: give a positive time",
    ),
    (WandbConfig, {"tags": "abc"}, "wandb.tags is 'abc': give a list of texts, such as ['abc']"),
    (WandbConfig, {"project": None}, "wandb.project is null: give a value, or leave it out"),
    (DataConfig, {"validation_size": 1.5}, "data.validation_size is 1.5: give a whole number or"),
    (DataConfig, {"test": "false"}, "data.test is 'false': give true or false"),
    (RecordingConfig, {"probe": "off"}, "recording.probe is 'off': give true or false"),
    (RecordingConfig, {"every": True}, "recording.every is True: it must be a whole number, 1 or"),
    (Config, {"seed": "1"}, "seed is '1': give a whole number"),
    (Config, {"network": ["plain-20"]}, "network is ['plain-20']: give a text"),
    (Config, {"data_dir": Path(__file__).open}, "data_dir is "),
    (
        Config,
        {"recipe": {"lr": 0.1}},
        "recipe is a dict: give a RecipeConfig, or all of it to Config.from_dict",
    ),
    (Config, {"recipe": DataConfig()}, "recipe is a DataConfig: give a RecipeConfig"),
    (NetworkSpec, {"depth": "56"}, "depth '56' is not a whole number"),
    (NetworkSpec, {"norm": "bach"}, "unknown norm 'bach', did you mean 'batch'? Known: batch, fix"),
]


@pytest.mark.parametrize(
    ("kind", "values", "message"), WRONG, ids=[str(v)[:40] for _, v, _ in WRONG]
)
def test_a_wrong_value_is_told_the_rule_and_the_nearest(
    kind: type, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        make(kind, **values)
    assert str(refused.value).startswith(message)


def test_numpys_numbers_lists_and_paths_are_the_same_run_as_plain_ones() -> None:
    plain = Config(
        seed=3,
        recipe=RecipeConfig(iterations=40, lr=0.5, drops=(10, 20), clip=2.0, nesterov=True),
        data=DataConfig(validation_size=100, normalise="channel"),
        recording=RecordingConfig(every=7),
        wandb=WandbConfig(tags=("a", "b")),
        runs_dir="some/runs",
        data_dir="data",
    )
    same = Config(
        seed=np.int64(3),  # type: ignore[arg-type]
        recipe=RecipeConfig(
            iterations=np.int32(40),  # type: ignore[arg-type]
            lr=np.float32(0.5),  # type: ignore[arg-type]
            drops=np.array([10, 20]),  # type: ignore[arg-type]
            clip=torch.tensor(2),  # type: ignore[arg-type]
            nesterov=np.bool_(True),  # type: ignore[arg-type]
        ),
        data=DataConfig(validation_size=np.uint8(100), normalise=np.str_("channel")),  # type: ignore[arg-type]
        recording=RecordingConfig(every=np.int64(7)),  # type: ignore[arg-type]
        wandb=WandbConfig(tags=["a", np.str_("b")]),  # type: ignore[arg-type]
        runs_dir=Path("some/runs"),  # type: ignore[arg-type]
        data_dir=Path("data"),  # type: ignore[arg-type]
    )
    assert same == plain
    assert same.run_id() == plain.run_id()
    assert json.dumps(same.as_dict()) == json.dumps(plain.as_dict())
    assert Config.from_dict(same.as_dict()) == plain
    for section in ("recipe", "data", "recording", "wandb"):
        kinds = [
            [type(value) for value in vars(getattr(one, section)).values()] for one in (same, plain)
        ]
        assert kinds[0] == kinds[1]


def test_numpys_numbers_name_the_same_network() -> None:
    spec = NetworkSpec(np.int64(56), "A", width=np.float64(0.5))  # type: ignore[arg-type]
    assert spec.name == "resnet-56-x0.5"
    assert NetworkSpec.parse("resnet-56-x0.5", depth=np.int64(56)) == spec
    assert [type(spec.depth), type(spec.width)] == [int, float]
    with pytest.raises(UserError, match="network 56 is not a name, such as 'resnet-56-B'"):
        NetworkSpec.parse(56)  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [{"network": "plain-8"}, "plain-8", None, RecipeConfig()])
def test_nothing_but_a_configuration_is_trained(config: Any) -> None:
    with pytest.raises(UserError, match="give a Config"):
        train(config)
    assert not list(Path().iterdir())
