from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import PAIR, PLAIN, at_step, info, interrupt, resumed, tiny

from resnet_lab.cli.parsing import parse_config
from resnet_lab.configuration.config import Config, TrainerConfig
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.config import DataConfig
from resnet_lab.errors import UserError
from resnet_lab.files import replacing, write_json, write_text
from resnet_lab.recording.schedule import RecordingConfig
from resnet_lab.runs.directory import DamagedFile, RunDirectory, read_info, run_name
from resnet_lab.runs.provenance import note_resumption
from resnet_lab.runs.rows import LAYERS, METRICS, RowFile
from resnet_lab.runs.stack import read_rows
from resnet_lab.training.train import train


def test_a_run_lies_in_the_folder_of_its_study() -> None:
    config = Config(network="plain-8", runs_dir="here", study="depth", seed=3)
    assert RunDirectory.of(config).path == Path(
        f"here/depth/plain-8_digits_seed3_{config.run_id()[:8]}"
    )


def test_a_large_cohort_has_a_short_name() -> None:
    network = ",".join(f"plain-{6 * n + 2}" for n in range(1, 20))
    assert run_name(Config(network=network)).startswith("plain-8+18-more_digits_seed0_")


# Saved configurations


SAVED = [
    Config(),
    Config(
        network="plain-8-x0.5,resnet-8-x0.5",
        seed=7,
        data=DataConfig(name="cifar10", validation_size=1000, normalise="channel"),
        recipe=RecipeConfig(lr=1, weight_decay=1e-5, clip=2, drops=(10, 20_000), compile=True),
        study="2024",
        runs_dir="runs/of many kinds: on, off",
    ),
    Config(
        data=DataConfig(name="imagenet", test_view="ten-crop"),
        recipe=RecipeConfig(
            plateau_patience=8, warmup_until_error=80, ghost_batch=64, precision="bfloat16"
        ),
        recording=RecordingConfig(enabled=False),
        trainer=TrainerConfig(devices=2, checkpoint_seconds=5),
        data_dir="~/data",
        study="on",
    ),
]


@pytest.mark.parametrize("config", SAVED, ids=range(len(SAVED)))
def test_the_saved_configuration_is_the_whole_run_again(config: Config) -> None:
    run = RunDirectory.of(config)
    run.create(config)
    again = parse_config(["--config", str(run.path / "config.yaml")])
    assert again == config
    assert again.run_id() == config.run_id()


@given(
    lr=st.floats(1e-12, 1e6),
    weight_decay=st.floats(0, 10),
    warmup_lr=st.integers(1, 5),
    drops=st.sets(st.integers(1, 63_999), max_size=5),
)
def test_numbers_survive_the_file(
    lr: float, weight_decay: float, warmup_lr: int, drops: set[int]
) -> None:
    recipe = RecipeConfig(
        lr=lr, weight_decay=weight_decay, warmup_lr=warmup_lr, drops=tuple(sorted(drops))
    )
    text = yaml.safe_dump(Config(recipe=recipe).as_dict(), sort_keys=False)
    values = yaml.safe_load(text)["recipe"]
    assert Config(recipe=RecipeConfig(**values)).run_id() == Config(recipe=recipe).run_id()


# Files that are whole or not there


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_exception_while_writing_leaves_the_old_file(error: type[BaseException]) -> None:
    file = Path("file")
    write_text(file, "old")

    def write_half() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write_half()
    assert file.read_text() == "old"
    assert os.listdir() == ["file"]


def test_a_file_is_not_there_before_it_is_whole() -> None:
    with replacing(Path("file")) as temporary:
        temporary.write_text("new")
        assert not Path("file").exists()
        assert temporary.parent == Path()
    assert Path("file").read_text() == "new"
    assert os.listdir() == ["file"]


def test_numbers_that_are_not_finite_become_null() -> None:
    write_json(Path("file"), {"a": [math.nan, 1.5], "b": {"c": math.inf, "d": -math.inf}})
    assert json.loads(Path("file").read_text()) == {"a": [None, 1.5], "b": {"c": None, "d": None}}


# Rows


def metric(step: int, value: float = 0.5) -> dict[str, Any]:
    return {
        "network": "plain-8",
        "step": step,
        "epoch": step / 10,
        "split": "train",
        "metric": "loss",
        "value": value,
    }


def test_rows_come_back_as_they_were_written() -> None:
    file = RowFile(Path("metrics.parquet"), METRICS)
    for step in range(3):
        file.append(**metric(step))
    file.flush()
    file.append(**metric(3, math.nan))
    assert pq.read_table("metrics.parquet").to_pylist() == [metric(step) for step in range(3)]
    file.flush()
    table = pq.read_table("metrics.parquet")
    assert table.schema.equals(METRICS)
    assert table.slice(0, 3).to_pylist() == [metric(step) for step in range(3)]
    assert math.isnan(table["value"][3].as_py())


def test_a_file_without_rows_has_its_columns() -> None:
    RowFile(Path("layers.parquet"), LAYERS).flush()
    assert pq.read_table("layers.parquet").equals(LAYERS.empty_table())


def test_resuming_cuts_what_came_after_the_checkpoint() -> None:
    first = RunDirectory(Path())
    for step in range(6):
        first.metrics.append(**metric(step))
        layer = {"network": "plain-8", "step": step, "quantity": "weight_norm"}
        layer |= {"layer": 1, "name": "stem.conv", "stage": 0, "block": 0, "value": 1.0}
        first.layers.append(**layer)
    first.flush()
    second = RunDirectory(Path())
    second.resume(3)
    second.metrics.append(**metric(99))
    second.layers.append(**{**layer, "step": 99})
    second.flush()
    # After 3 updates: errors of updates 1 to 3 are known, layers before updates 0 to 2.
    assert pq.read_table("metrics.parquet")["step"].to_pylist() == [0, 1, 2, 3, 99]
    assert pq.read_table("layers.parquet")["step"].to_pylist() == [0, 1, 2, 99]


def test_a_byte_that_changes_in_a_file_of_rows_is_noticed() -> None:
    file = RowFile(Path("metrics.parquet"), METRICS)
    for step in range(200):
        file.append(**metric(step, step / 7))
    file.flush()
    content, whole = file.path.read_bytes(), read_rows(file.path, METRICS)
    noticed = 0
    for place in range(0, len(content), 23):
        damaged = bytearray(content)
        damaged[place] ^= 8
        file.path.write_bytes(damaged)
        try:
            found = read_rows(file.path, METRICS)
        except UserError:
            noticed += 1
        else:  # statistics, which nobody reads
            for name, column in whole.numbers.items():
                np.testing.assert_array_equal(found.numbers[name], column)
    assert noticed > 50


def test_resuming_forgets_rows_that_were_never_written() -> None:
    file = RowFile(Path("metrics.parquet"), METRICS)
    file.append(**metric(1))
    file.resume(pc.field("step") <= 5)
    file.flush()
    assert pq.read_table("metrics.parquet").num_rows == 0


# Directories


def stamps(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.rglob("*")}


def test_a_finished_run_is_not_trained_again() -> None:
    config = tiny(iterations=2)
    run = train(config)
    assert info(run)["status"] == "finished"
    before = stamps(run)
    assert train(config) == run
    assert train(dataclasses.replace(config, trainer=TrainerConfig(), data_dir="nowhere")) == run
    assert stamps(run) == before
    assert {path.name for path in (run / "weights").iterdir()} == {f"{name}.pt" for name in PAIR}


def test_the_folder_of_another_run_is_refused() -> None:
    config = tiny(iterations=2)
    run = RunDirectory.of(config)
    run.path.mkdir(parents=True)
    for status in ("finished", "interrupted"):
        run.write({"run": "0123456789abcdef", "status": status})
        with pytest.raises(UserError) as refused:
            train(config)
        assert (
            str(refused.value) == f"{run.path} holds another run (0123456789abcdef): move it away"
        )
    assert os.listdir(run.path) == ["run.json"]


def resting(monkeypatch: pytest.MonkeyPatch, config: Config) -> Path:
    """A run that has stopped after 3 steps."""
    at_step(monkeypatch, 2, interrupt)
    return train(config)


def edit(run: Path, name: str, value: object) -> None:
    part, _, key = name.rpartition(".")
    values = yaml.safe_load((run / "config.yaml").read_text())
    (values[part] if part else values)[key] = value
    (run / "config.yaml").write_text(yaml.safe_dump(values))


def test_a_configuration_that_was_changed_in_its_folder_is_refused_with_the_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny(network=PLAIN)
    run = resting(monkeypatch, config)
    edit(run, "recipe.lr", 0.2)
    edit(run, "data.test", False)
    edit(run, "network", "plain-14")
    before = stamps(run)
    with pytest.raises(UserError) as refused:
        train(config)
    assert str(refused.value) == (
        f"{run}/config.yaml is not of the run that belongs there: "
        f"network is ['plain-14'] there and ['{PLAIN}'] here; data.test is False there and True "
        "here; recipe.lr is 0.2 there and 0.1 here. If the run is the right one, delete that file: "
        "it is written anew. Else move the folder away"
    )
    assert stamps(run) == before
    (run / "config.yaml").unlink()
    train(config)
    assert resumed(run) == [3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trainer.checkpoint_seconds", 5.0),
        ("trainer.device", "auto"),
        ("runs_dir", "x"),
        ("data.workers", 3),
    ],
)
def test_what_determines_no_result_may_change(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(network=PLAIN, iterations=4)
    run = resting(monkeypatch, config)
    edit(run, name, value)
    train(config)
    assert yaml.safe_load((run / "config.yaml").read_text()) == config.as_dict()


@pytest.mark.parametrize("text", ["recipe:\n  lr: 0.1\n", "recipe: [", "recipe: {l: 1}", "a", ""])
@pytest.mark.filterwarnings("ignore:.*config.yaml is damaged")
def test_a_configuration_that_is_damaged_or_cut_off_is_written_anew(text: str) -> None:
    config = tiny(network=PLAIN)
    run = RunDirectory.of(config)
    run.create(config)
    (run.path / "config.yaml").write_text(text)
    run.create(config)
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == config.as_dict()


def test_another_run_in_the_folder_is_refused_with_the_difference() -> None:
    config, other = tiny(network=PLAIN), tiny(network=PLAIN, lr=0.2, seed=3)
    run = RunDirectory.of(config)
    there = RunDirectory(run.path, other)
    there.create(other)
    there.write({"run": other.run_id(), "status": "interrupted"})
    with pytest.raises(UserError) as refused:
        train(config)
    assert str(refused.value) == (
        f"{run.path} holds another run ({other.run_id()}); seed is 3 there and 0 here; "
        "recipe.lr is 0.2 there and 0.1 here: move it away"
    )


@pytest.mark.filterwarnings("ignore:.*run.json cannot be read")
def test_a_finished_run_whose_description_is_damaged_is_lost_to_nobody() -> None:
    config = tiny(network=PLAIN)
    run = train(config)
    whole = (run / "run.json").read_text()
    (run / "run.json").write_text(whole[:100])
    (run / "checkpoints" / "._step-000000012.ckpt").write_bytes(b"of macOS")
    with pytest.raises(UserError, match=r"The run in .* was finished: restore that file, or move"):
        train(config)
    (run / "weights" / f"{PLAIN}.pt").unlink()
    (run / "weights" / f"._{PLAIN}.pt").write_bytes(b"of macOS")
    train(config)
    assert info(run)["networks"] == json.loads(whole)["networks"]


# Provenance

HERE = {
    **{"created": "now", "device": "cpu (1 threads)", "threads": 1, "processor": "one"},
    **{"processes": 1, "torch": "2.15.0", "resnet_lab": "0.1.0", "git": "abc", "python": "3.12"},
    "code": "0123",
}


def test_a_resumption_on_the_same_machine_is_bit_exact() -> None:
    known = dict(HERE)
    note_resumption(known, {**HERE, "created": "later", "python": "3.13"}, 7)
    [entry] = known.pop("resumed")
    assert (entry["step"], entry["bit_exact"], entry["because"]) == (7, True, [])
    assert known == {**HERE, "python": "3.13"}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("torch", "2.11.0", "torch 2.15.0 -> 2.11.0"),
        ("processes", 2, "processes 1 -> 2"),
        ("processor", "two", "processor one -> two"),
        ("device", "H100", "device cpu (1 threads) -> H100"),
        ("git", "abd+changes", "git abc -> abd+changes"),
        ("code", "4567", "code 0123 -> 4567"),
    ],
)
def test_a_resumption_elsewhere_says_what_is_another(name: str, value: object, why: str) -> None:
    known = dict(HERE)
    note_resumption(known, {**HERE, name: value}, 7, ["for another reason"])
    note_resumption(known, {**HERE, name: value}, 9)
    first, second = known["resumed"]
    assert (first["bit_exact"], first["because"]) == (False, [why, "for another reason"])
    assert (second["step"], second["bit_exact"]) == (9, True), "the same as the part before it"


def test_runs_of_before_say_less_and_are_continued_all_the_same() -> None:
    known = {
        key: value for key, value in HERE.items() if key not in ("threads", "processes", "code")
    }
    known["resumed"] = [3, 5]
    note_resumption(known, HERE, 7)
    *before, entry = known["resumed"]
    assert before == [3, 5]
    assert (entry["bit_exact"], entry["because"]) == (False, ["processes unknown -> 1"])
    assert known["processes"] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read: Expecting property name"),
        ("[1]", "is not of format 1 or 2, which this version reads"),
        ('{"format": 3}', "is not of format 1 or 2, which this version reads"),
    ],
)
def test_a_damaged_run_is_refused(text: str, reason: str) -> None:
    Path("run.json").write_text(text)
    with pytest.raises(UserError, match=f"^run.json {reason}"):
        read_info(Path())


def test_a_description_with_another_number_in_it_is_noticed() -> None:
    finished = train(tiny(network=PLAIN))
    sound = read_info(finished)
    assert sound == info(finished)
    text = (finished / "run.json").read_text()
    assert '"step": 12,' in text
    for other in (text.replace('"step": 12,', '"step": 13,'), text.replace('"run":', '"rum":')):
        Path("run.json").write_text(other)
        with pytest.raises(
            DamagedFile, match=r"^run\.json cannot be read: its checksum is another"
        ):
            read_info(Path())
    older = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    Path("run.json").write_text(json.dumps({**older, "step": 13}))
    assert read_info(Path())["step"] == 13, "as before there were checksums"


def test_a_finished_run_whose_description_is_damaged_is_made_anew_from_its_checkpoint() -> None:
    config = tiny(network=PLAIN, trainer={"checkpoint_steps": 5})
    run = train(config)
    sound, weights = info(run), (run / f"weights/{PLAIN}.pt").read_bytes()
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"step": 12,', '"step": 13,'))
    with pytest.warns(UserWarning, match="its checksum is another one: made anew"):
        train(config)
    assert info(run)["networks"] == sound["networks"]
    assert info(run)["step"] == 12
    assert (run / f"weights/{PLAIN}.pt").read_bytes() == weights


def test_a_folder_that_is_no_run_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        read_info(Path("nowhere"))
    assert str(refused.value) == "nowhere is no run directory: it has no run.json"


def test_a_place_that_cannot_be_written_is_refused() -> None:
    Path("runs").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"^cannot write the run directory runs/plain.*--runs-dir$"):
        train(tiny(iterations=2))


@pytest.mark.filterwarnings("ignore:.*config.yaml is damaged")
def test_a_configuration_that_is_cut_off_anywhere_is_the_runs_own() -> None:
    config = tiny(iterations=123, log_every=45)
    run = RunDirectory.of(config)
    run.create(config)
    whole = (run.path / "config.yaml").read_text()
    for length in range(0, len(whole), 3):
        (run.path / "config.yaml").write_text(whole[:length])
        assert run.read() is None, whole[:length]
