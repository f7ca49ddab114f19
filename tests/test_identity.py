"""What makes two runs the same run: format 2, and the runs of format 1 that people have."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from registered_parts import registered
from tiny_runs import PAIR, PLAIN, ROOT, assert_same_result, at_step, info, interrupt, resumed, tiny
from torch import nn

import resnet_lab.data
import resnet_lab.networks
from analysis.groups import split_groups
from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.configuration import config as configuration
from resnet_lab.configuration.config import Config, TrainerConfig, WandbConfig
from resnet_lab.configuration.identity import identify_format_1
from resnet_lab.configuration.recipe import RecipeConfig, as_stored
from resnet_lab.configuration.replaced import replaced_code
from resnet_lab.data.config import DataConfig
from resnet_lab.errors import UserError
from resnet_lab.files import seal, write_json
from resnet_lab.networks import shortcuts
from resnet_lab.networks.part import Ordering
from resnet_lab.networks.shortcuts import PaddedIdentity
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.runs.directory import RunDirectory, run_name
from resnet_lab.runs.frames import load_runs
from resnet_lab.training.train import train

# For every field that decides a result: other settings beside which it has an effect, and a value
# other than its default.
OTHER: dict[str, dict[str, tuple[dict[str, Any], Any]]] = {
    "data": {
        "name": ({}, "cifar10"),
        "protocol": ({}, "full"),
        "validation_size": ({}, 100),
        "split_seed": ({}, 1),
        "normalise": ({}, "channel"),
        "augment": ({}, "none"),
        "test_view": ({"name": "imagenet"}, "ten-crop"),
        "test": ({}, False),
        "pixels": ({"name": "cifar10"}, 16),
    },
    "recipe": {
        "iterations": ({}, 100),
        "batch_size": ({}, 64),
        "lr": ({}, 0.05),
        "optimizer": ({}, "lars"),
        "momentum": ({}, 0.8),
        "weight_decay": ({}, 1e-5),
        "nesterov": ({}, True),
        "beta2": ({"optimizer": "adamw"}, 0.99),
        "eps": ({"optimizer": "adamw"}, 1e-3),
        "trust_coefficient": ({"optimizer": "lars"}, 0.01),
        "drops": ({}, (10, 20)),
        "drop_factor": ({"drops": (10,)}, 0.2),
        "plateau_patience": ({}, 3),
        "warmup_steps": ({}, 400),
        "warmup_until_error": ({}, 80.0),
        "warmup_lr": ({"warmup_steps": 400}, 0.001),
        "warmup_window": ({"warmup_until_error": 80.0}, 50),
        "clip": ({}, 1.0),
        "clip_scope": ({"clip": 1.0}, "network"),
        "precision": ({}, "bfloat16"),
        "compile": ({}, True),
        "ghost_batch": ({}, 64),
        "precise_bn": ({}, 1000),
        "evaluate_every": ({}, 10),
        "test_curve": ({}, True),
        "log_every": ({}, 10),
    },
    "recording": {
        "enabled": ({}, False),
        "per_decade": ({}, 5),
        "every": ({}, 100),
        "probe_size": ({}, 64),
        "probe": ({}, False),
        "quantities": ({}, "gradient_norm"),
    },
}
PARTS = {"data": DataConfig, "recipe": RecipeConfig, "recording": RecordingConfig}
CHANGES = [(part, name) for part, values in OTHER.items() for name in values]


def config_of(part: str, **values: Any) -> Config:
    return Config(**{part: PARTS[part](**values)})


@pytest.mark.parametrize(("part", "name"), CHANGES, ids=[".".join(each) for each in CHANGES])
def test_whatever_decides_a_result_decides_the_identity(part: str, name: str) -> None:
    beside, value = OTHER[part][name]
    plain, changed = config_of(part, **beside), config_of(part, **beside, **{name: value})
    assert getattr(getattr(changed, part), name) != getattr(getattr(plain, part), name)
    assert changed.run_id() != plain.run_id()
    assert changed.identity().content[part][name] == (
        list(value) if isinstance(value, tuple) else value
    )


def test_no_field_of_a_configuration_is_forgotten() -> None:
    for part, values in OTHER.items():
        fields = {field.name for field in dataclasses.fields(PARTS[part])}
        assert fields - {"workers"} == set(values)
    assert {field.name for field in dataclasses.fields(Config)} == {
        *OTHER,
        *("network", "seed", "trainer", "data_dir", "runs_dir", "study"),
        *("tracking", "wandb", "parts"),
    }


def test_all_these_runs_are_different_ones() -> None:
    configs = [
        config_of(part, **OTHER[part][name][0], **{name: OTHER[part][name][1]})
        for part, name in CHANGES
    ]
    configs += [Config(), Config(seed=1), Config(network="plain-20"), Config(network="resnet-20")]
    assert len({config.run_id() for config in configs}) == len(configs)
    assert len({run_name(config) for config in configs}) == len(configs)


@pytest.mark.parametrize(
    "same",
    [
        Config(trainer=TrainerConfig(device="cpu", checkpoint_seconds=1, progress=False)),
        Config(data_dir="/data"),
        Config(runs_dir="elsewhere"),
        Config(study="depth"),
        Config(tracking="wandb", wandb=WandbConfig(project="mine", tags=("a",))),
        Config(data=DataConfig(workers=0)),
        Config(network=" Plain-20 , resnet-20-A"),
    ],
    ids=["trainer", "data_dir", "runs_dir", "study", "tracking", "workers", "spelling"],
)
def test_where_a_run_is_trained_and_kept_is_no_part_of_its_identity(same: Config) -> None:
    assert same.run_id() == Config().run_id()
    assert RunDirectory.of(same).path.name == RunDirectory.of(Config()).path.name


NONORM: dict[str, Any] = {"network": "plain-8-nonorm,resnet-8-nonorm"}
IDLE = [
    ({}, "recipe", {}, {"warmup_lr": 0.05}),
    ({}, "recipe", {}, {"warmup_window": 7}),
    ({}, "recipe", {"warmup_steps": 9}, {"warmup_window": 7}),
    ({}, "recipe", {}, {"clip_scope": "network"}),
    ({}, "recipe", {}, {"drop_factor": 0.5}),
    ({}, "recipe", {"iterations": 200}, {"evaluate_every": 200}),
    ({}, "recipe", {"iterations": 50}, {"log_every": 50}),
    ({"data": DataConfig(protocol="full")}, "recipe", {}, {"evaluate_every": 10}),
    ({"data": DataConfig(test=False)}, "recipe", {}, {"test_curve": True}),
    ({}, "recipe", {"batch_size": 64}, {"ghost_batch": 64}),
    (NONORM, "recipe", {}, {"precise_bn": 64}),
    (NONORM, "recipe", {}, {"ghost_batch": 64}),
    ({}, "data", {"name": "cifar10"}, {"validation_size": 5000}),
    ({}, "data", {"name": "digits"}, {"validation_size": 143}),
    ({}, "data", {"name": "imagenet"}, {"validation_size": 50_000}),
    ({}, "data", {"protocol": "full"}, {"split_seed": 3}),
    ({}, "recording", {"enabled": False}, {"every": 7, "per_decade": 3, "probe_size": 9}),
    ({}, "recording", {"enabled": False}, {"probe": False}),
    ({}, "recording", {"probe": False}, {"probe_size": 9}),
    ({}, "recording", {}, {"every": 100_000}),
]


@pytest.mark.parametrize(
    ("more", "part", "beside", "idle"), IDLE, ids=lambda one: str(one) if one else None
)
def test_settings_without_effect_are_no_part_of_the_identity(
    more: dict[str, Any], part: str, beside: dict[str, Any], idle: dict[str, Any]
) -> None:
    plain, changed = (
        dataclasses.replace(config_of(part, **values), **more)
        for values in (beside, {**beside, **idle})
    )
    if idle == {"every": 100_000}:  # steps that are never more than a thousand apart
        short = RecipeConfig(iterations=900)
        plain, changed = (dataclasses.replace(one, recipe=short) for one in (plain, changed))
    assert plain != changed
    assert plain.identity() == changed.identity()


def test_processes_are_ghost_batches_by_another_name() -> None:
    def run_id(devices: int, nodes: int = 1, **recipe: Any) -> str:
        trainer = TrainerConfig(devices=devices, nodes=nodes)
        return Config(recipe=RecipeConfig(**recipe), trainer=trainer).run_id()

    assert run_id(2) == run_id(1, ghost_batch=64) == run_id(2, ghost_batch=64)
    assert run_id(2, nodes=2) == run_id(1, ghost_batch=32)
    assert run_id(1) != run_id(2) != run_id(4)


# The rules and defaults of a format never change

LONG = Config(
    network="plain-56,resnet-56-B",
    seed=3,
    data=DataConfig("cifar10", protocol="full", normalise="channel"),
    recipe=RecipeConfig(
        lr=0.05, drops=(32_000, 48_000), warmup_until_error=80, clip=1, precise_bn=1000
    ),
    recording=RecordingConfig(every=500),
)
GOLDEN = [
    (Config(), "2927a9e59f725b83", "b2f8a5cd29c0f310"),
    (LONG, "4ba6b4dd56074c13", "7e67938d8cdd2c89"),
]


@pytest.mark.parametrize(("config", "now", "before"), GOLDEN, ids=["default", "long"])
def test_identities_never_change(config: Config, now: str, before: str) -> None:
    older = identify_format_1(config)
    assert older is not None
    assert (config.run_id(), older.id) == (now, before)


def test_the_identity_says_what_is_not_as_by_default() -> None:
    content = LONG.identity().content
    assert content["data"].pop("fingerprint")["images"] == 50_000
    assert content == {
        "format": 2,
        "network": ["plain-56", "resnet-56-B"],
        "seed": 3,
        "data": {"name": "cifar10", "protocol": "full", "normalise": "channel"},
        "recipe": {
            **{"lr": 0.05, "drops": [32_000, 48_000], "warmup_until_error": 80.0},
            **{"clip": 1.0, "precise_bn": 1000},
        },
        "recording": {"every": 500},
    }


def test_a_new_setting_with_a_default_changes_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    longer = dataclasses.make_dataclass(
        "Longer", [("brand_new", int, 7)], bases=(RecipeConfig,), frozen=True
    )
    published = load_runs(ROOT / "results/cifar10_quick").runs
    recipe = dataclasses.asdict(LONG.recipe)
    same, other = (
        dataclasses.replace(LONG, recipe=longer(**recipe, **more))
        for more in ({}, {"brand_new": 8})
    )
    assert same.run_id() == LONG.run_id() != other.run_id()
    assert identify_format_1(same) == identify_format_1(LONG)
    assert identify_format_1(other) is None
    monkeypatch.setattr(configuration, "RecipeConfig", longer)
    again = load_runs(ROOT / "results/cifar10_quick")
    assert not again.skipped
    assert again.runs["run"].tolist() == published["run"].tolist()
    assert "brand_new=7" in again.runs["schedule"][0]


# Data


def folder(name: str, classes: str, count: int = 8, **more: Any) -> Config:
    """A folder of random images, and the configuration of a run on it."""
    generator = np.random.default_rng(len(name) + ord(name[-1]))
    for part in ("train", "val"):
        for one in classes:
            place = Path(name) / part / one
            place.mkdir(parents=True)
            for k in range(count):
                pixels = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{k}.png")
    return on(name, **more)


def on(data_dir: str, **more: Any) -> Config:
    data = {"name": "imagefolder", "workers": 0, "augment": "none"}
    short = {"iterations": 2, "batch_size": 4, "log_every": 1}
    config = tiny(network=PLAIN, data=data, recording={"enabled": False}, **short, **more)
    return dataclasses.replace(config, data_dir=data_dir)


def test_runs_on_other_images_are_other_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = folder("A", "ab"), folder("B", "ab"), folder("C", "abc")
    runs = [train(config) for config in (a, b, c)]
    assert len({info(run)["run"] for run in runs}) == 3
    shutil.copytree("A", "copy-of-A")
    assert train(dataclasses.replace(a, data_dir="copy-of-A")) == runs[0]
    groups = split_groups(load_runs("runs"))
    assert sorted(len(group.members) for group in groups) == [1, 1, 1]
    assert len({group.label for group in groups}) == 3

    at_step(monkeypatch, 0, interrupt)
    other = dataclasses.replace(a, seed=1)
    left = train(other)
    assert info(left)["status"] == "interrupted"
    elsewhere = train(dataclasses.replace(other, data_dir="B"))
    assert (elsewhere != left, resumed(elsewhere)) == (True, [])
    assert train(other) == left
    assert resumed(left) == [1]

    Path("A/train/a/0.png").unlink()
    changed = train(a)
    assert changed not in runs


def test_a_sweep_over_folders_plans_a_run_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    folder("A", "ab"), folder("B", "ab"), folder("C", "abc")
    sweep = {
        "program": "resnet_lab",
        "method": "grid",
        "parameters": {
            "data_dir": {"values": ["A", "B", "C"]},
            "data.name": {"value": "imagefolder"},
            "network": {"value": PLAIN},
        },
    }
    Path("folders.yaml").write_text(yaml.safe_dump(sweep))
    assert main(["sweep", "folders.yaml", "--dry-run"]) == 0
    assert "3 runs: 3 to do" in capsys.readouterr().out
    shutil.rmtree("B")
    assert main(["sweep", "folders.yaml", "--dry-run"]) == 0
    assert "3 runs: 3 to do" in capsys.readouterr().out, "what a sweep costs is told without data"
    assert main(["sweep", "folders.yaml"]) == 2
    assert "imagefolder has no folder B/train" in capsys.readouterr().err
    assert not list(Path("runs").rglob("run.json"))


def test_the_identity_is_stored_with_the_run_and_checked() -> None:
    config = folder("A", "ab")
    run = train(config)
    stored = info(run)
    assert (stored["format"], stored["identity"]) == (2, config.identity().content)
    shutil.rmtree("A")
    frame = load_runs("runs").runs
    assert frame["run"].tolist() == [stored["run"]]
    stored["identity"]["data"]["fingerprint"]["train"] = "contents:0123456789abcdef"
    write_json(run / "run.json", seal(stored))
    with pytest.raises(
        ValueError, match=f"config.yaml is that of run .*, run.json of {frame['run'][0]}"
    ):
        load_runs("runs")


# Format 1


def begin_in_format_1(
    config: Config, monkeypatch: pytest.MonkeyPatch, *, finish: bool = False
) -> Path:
    """A run as versions before format 2 have left it, interrupted at step 1 or finished."""
    identity = identify_format_1(config)
    assert identity is not None
    older = RunDirectory(Path("runs") / run_name(config, identity), config, identity)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "of", lambda config: older)
        if not finish:
            at_step(patch, 1, interrupt)
        run = train(config)
    assert (info(run)["format"], "identity" in info(run)) == (1, False)
    return run


def test_a_run_of_format_1_goes_on_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny()
    undisturbed = train(dataclasses.replace(config, runs_dir="others"))
    run = begin_in_format_1(config, monkeypatch)
    assert train(config) == run
    assert (info(run)["format"], info(run)["status"], resumed(run)) == (1, "finished", [2])
    assert_same_result(run, undisturbed, *PAIR)
    assert train(config) == run
    assert [path.name for path in Path("runs").iterdir()] == [run.name]
    both = load_runs(Path())
    assert not both.skipped
    assert len(set(both.runs["run"])) == 2
    assert len(split_groups(both)) == 1, "they are alike: the same data and settings"


def test_a_run_with_what_is_refused_today_stays_of_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_stored():
        config = tiny(network=PLAIN, warmup_steps=8, drops=(4,))
        run = begin_in_format_1(config, monkeypatch, finish=True)
    found = load_runs("runs")
    assert (found.runs["run"].tolist(), found.skipped) == ([info(run)["run"]], [])
    with pytest.raises(UserError, match="within the warm-up"):
        parse_config(["--config", str(run / "config.yaml")])
    file = run / "weights" / f"{PLAIN}.pt"
    state = torch.load(file, weights_only=True)
    state._metadata.pop("resnet_lab")  # nothing but tensors, as versions before format 2 wrote it
    torch.save(state, file)
    capsys.readouterr()
    assert main(["evaluate", str(file), "--network", PLAIN, "--data", "digits", "--json"]) == 0
    error = json.loads(capsys.readouterr().out)["error"]
    assert error == info(run)["networks"][0]["final"]["test_error"]


def test_of_image_folders_a_run_of_format_1_is_known_by_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = folder("A", "ab"), folder("B", "ab")
    run = begin_in_format_1(a, monkeypatch, finish=True)
    assert train(dataclasses.replace(a, data_dir=str(Path("A").resolve()))) == run
    assert train(b) != run
    Path("A/train/a/0.png").rename("A/train/b/8.png")
    assert train(a) == run, "as far as can be told"
    capsys.readouterr()
    configuration = yaml.safe_dump(a.as_dict())
    Path("a.yaml").write_text(configuration)
    assert main(["train", "--config", "a.yaml"]) == 0
    assert "did not note which images it read" in capsys.readouterr().err
    for part in ("train", "val"):  # as many images, in three classes
        Path(f"A/{part}/c").mkdir()
        Path(f"A/{part}/a/7.png").rename(f"A/{part}/c/7.png")
    assert train(a) != run
    Path("A/train/a/1.png").unlink()
    assert train(a) != run


def test_a_sweep_that_was_begun_in_format_1_keeps_its_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"iterations": 12, "batch_size": 16, "log_every": 4, "evaluate_every": 6}
    sweep = {
        "program": "resnet_lab",
        "name": "old",
        "method": "grid",
        "parameters": {
            "network": {"value": PLAIN},
            "seed": {"values": [0, 1]},
            **{f"recipe.{name}": {"value": value} for name, value in short.items()},
            "recording.probe_size": {"value": 16},
            "trainer.device": {"value": "cpu"},
        },
    }
    Path("old.yaml").write_text(yaml.safe_dump(sweep))
    with monkeypatch.context() as patch:
        patch.setattr(
            "resnet_lab.configuration.config.identify", lambda config, *_: identify_format_1(config)
        )
        patch.setattr("resnet_lab.cli.study.identify", lambda config, *_: identify_format_1(config))
        assert main(["sweep", "old.yaml", "--count", "1"]) in (0, 1)
    [first] = Path("runs/old").glob("*/run.json")
    assert info(first.parent)["format"] == 1
    before = first.stat().st_mtime_ns
    capsys.readouterr()
    assert main(["sweep", "old.yaml"]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == before, "what is finished is not trained again"
    formats = sorted(info(file.parent)["format"] for file in Path("runs/old").glob("*/run.json"))
    assert formats == [1, 2]


# Code


def test_the_projects_own_code_is_not_taken_for_replaced() -> None:
    for package in (resnet_lab.networks, resnet_lab.data):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    assert replaced_code() == {}


class Another(Ordering):
    """An ordering of the user's."""


@pytest.mark.parametrize(
    ("target", "replacement", "place"),
    [
        (PaddedIdentity, ("forward", lambda self, x: x), "shortcuts.PaddedIdentity.forward"),
        (shortcuts, ("build_shortcut", lambda *_: nn.Identity()), "shortcuts.build_shortcut"),
    ],
    ids=["method", "function"],
)
def test_code_that_the_user_has_replaced_makes_another_run(
    target: Any, replacement: tuple[str, Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, genuine = Config(), Config().run_id()
    monkeypatch.setattr(target, *replacement)
    replaced = config.identity()
    assert list(replaced.content["code"]) == [f"resnet_lab.networks.{place}"]
    assert replaced.id != genuine
    monkeypatch.undo()
    assert config.run_id() == genuine


def test_a_part_of_the_users_makes_another_run_and_belongs_to_the_file_that_defines_it() -> None:
    part = Another(name="mine", token="mine", unit="W", between="AN", after="AN")
    with registered(part):
        [place] = (found := Config(network="plain-8-mine").identity().content["code"])
        assert place == "parts.ordering.mine"
        assert found[place] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    assert "code" not in Config(network="plain-8").identity().content


def test_runs_of_replaced_code_are_no_further_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(iterations=1, recording={"enabled": False})
    own = PaddedIdentity.forward
    with monkeypatch.context() as patch:
        patch.setattr(PaddedIdentity, "forward", lambda self, x: 0.5 * own(self, x))
        other = train(config)
    assert train(config) != other
    assert len(split_groups(load_runs("runs"))) == 2


def test_a_finished_run_of_other_code_is_not_passed_off_as_this_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train(tiny(network=PLAIN))
    line = ["train", "--config", str(run / "config.yaml")]
    assert main(line) == 0
    assert "other code" not in capsys.readouterr().out
    known = info(run)
    known["provenance"].update(code="0123456789abcdef", git="abc")
    write_json(run / "run.json", seal(known))
    assert main(line) == 0
    assert (
        "already finished; the same run is not trained twice\nnote: other code trained it "
        "(resnet_lab 0.1.0, commit abc); --study NAME trains it again\n"
    ) in capsys.readouterr().out
