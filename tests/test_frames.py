from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_runs import PAIR, PLAIN, RESIDUAL, at_step, info, interrupt, member, rows, tiny

from resnet_lab.errors import UserError
from resnet_lab.networks.complexity import complexity, layer_table
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.recording.schedule import recording_steps
from resnet_lab.runs.frames import foreign_folders, load_runs
from resnet_lab.training.train import train

WEIGHT_QUANTITIES = (
    *("gradient_norm", "weight_norm", "relative_update", "update_norm", "update_angle"),
)
DOCUMENTED = {
    *("run", "name", "study", "path", "network", "family", "depth", "shortcut", "seed"),
    *("data", "protocol", "normalise", "augment", "status", "diverged_at", "warmup_ended_at"),
    *("step", "iterations", "batch_size", "lr", "momentum", "weight_decay", "warmup_steps"),
    *("precision", "parameters", "multiply_adds", "train_error", "train_loss"),
    *("validation_error", "validation_loss", "test_error", "test_loss"),
    *("wall_seconds", "images_per_second", "device", "torch"),
}
CONFIG: dict[str, Any] = {
    "study": "depth",
    "iterations": 6,
    "evaluate_every": 3,
    "recording": {"probe_size": 32},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("runs"), **CONFIG))


@pytest.fixture
def runs(finished: Path) -> Path:
    """A folder of runs/ that holds a copy of the finished run."""
    shutil.copytree(finished, Path("runs/depth") / finished.name)
    return Path("runs")


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    contents = info(run)
    change(contents)
    (run / "run.json").write_text(json.dumps(contents))


def copy_of(run: Path, name: str) -> Path:
    return Path(shutil.copytree(run, run.with_name(name)))


def test_runs_has_a_row_a_member_with_what_it_is_and_what_came_out(runs: Path) -> None:
    config = tiny("runs", **CONFIG)
    frame = load_runs(runs).runs
    assert set(frame.columns) >= DOCUMENTED
    assert frame["network"].tolist() == list(PAIR)
    assert frame["family"].tolist() == ["plain", "residual"]
    assert frame["shortcut"].tolist() == ["none", "A"]
    run = next(Path("runs/depth").iterdir())
    for _, row in frame.iterrows():
        size = complexity(
            NetworkSpec.parse(row.network), num_classes=10, in_channels=1, image_size=8
        )
        assert (row.parameters, row.multiply_adds) == (size.parameters, size.multiply_adds)
        assert (row.run, row["name"], row.study) == (config.run_id(), run.name, "depth")
        assert (row.path, row.seed, row.depth) == (str(run), 0, 8)
        assert (row.data, row.protocol, row.normalise) == ("digits", "1294/143", "pixel-mean")
        assert (row.status, row.step, row.iterations) == ("finished", 6, 6)
        assert (row.batch_size, row.lr, row.momentum, row.weight_decay) == (16, 0.1, 0.9, 1e-4)
        assert (row.warmup_steps, row.precision) == (0, "float32")
        assert row.device == "cpu (1 threads)"
        assert pd.isna(row.diverged_at)
        assert pd.isna(row.warmup_ended_at)
        for name, value in member(run, row.network)["final"].items():
            assert row[name] == value
        assert math.isnan(row.test_top5_error)


def test_the_schedule_is_written_as_the_configuration_is_and_without_what_has_no_effect() -> None:
    idle = {"warmup_lr": 0.5, "clip_scope": "network"}
    train(tiny(drops=(4, 8), **idle, recording={"enabled": False}))
    [schedule] = set(load_runs("runs").runs["schedule"])
    assert "drops=[4, 8]" in schedule
    assert "warmup_lr=0.01" in schedule


def test_metrics_are_the_runs_rows_with_its_identity(runs: Path) -> None:
    frame = load_runs(runs).metrics
    columns = ["run", "network", "step", "epoch", "split", "metric", "value"]
    assert frame.columns.tolist() == columns
    assert frame["run"].unique().tolist() == [tiny("runs", **CONFIG).run_id()]
    found = {
        (split, metric): part["step"].tolist()
        for (split, metric), part in frame[frame["network"] == PLAIN].groupby(["split", "metric"])
    }
    assert found == {
        ("train", "loss"): [4, 6],
        ("train", "error"): [4, 6],
        ("train", "lr"): [4, 6],
        ("validation", "loss"): [3, 6],
        ("validation", "error"): [3, 6],
        ("test", "loss"): [6],
        ("test", "error"): [6],
    }
    assert frame[frame["metric"] == "error"]["value"].between(0, 100).all()


def test_layers_are_recorded_for_every_layer_at_every_recording_step(runs: Path) -> None:
    config = tiny("runs", **CONFIG)
    frame = load_runs(runs).layers
    assert frame.columns.tolist() == [
        *("run", "network", "step", "quantity", "layer", "name", "stage", "block", "value")
    ]
    steps = list(recording_steps(6, config.recording))
    assert steps == [0, 1, 2, 4, 5]
    table = layer_table(NetworkSpec.parse(RESIDUAL), num_classes=10, in_channels=1, image_size=8)
    for quantity in WEIGHT_QUANTITIES:
        part = frame[(frame["network"] == RESIDUAL) & (frame["quantity"] == quantity)]
        assert part["step"].unique().tolist() == steps
        first = part[part["step"] == 0]
        assert first[["layer", "name", "stage", "block"]].to_numpy().tolist() == [
            [layer.index, layer.name, layer.stage, layer.block] for layer in table
        ]
        assert (part["value"] > 0).all()
    assert set(frame["quantity"]) == {
        *WEIGHT_QUANTITIES,
        *("activation_gradient_norm", "response_std", "variance_ratio", "total_gradient_norm"),
    }
    assert set(frame[frame["quantity"] == "variance_ratio"]["network"]) == {RESIDUAL}


def test_the_first_relative_update_is_lr_times_gradient_over_weight(runs: Path) -> None:
    layers = load_runs(runs).layers
    first = layers[(layers["step"] == 0) & (layers["network"] == PLAIN)]
    wide = first.pivot(index="name", columns="quantity", values="value").dropna(
        subset=["relative_update"]
    )
    expected = 0.1 * wide["gradient_norm"] / wide["weight_norm"]
    pd.testing.assert_series_equal(wide["relative_update"], expected, check_names=False, rtol=1e-5)


def test_one_run_directory_may_be_named_itself(runs: Path) -> None:
    run = next(Path("runs/depth").iterdir())
    assert load_runs(str(run)).runs["network"].tolist() == list(PAIR)
    assert load_runs(run).skipped == []


def test_a_run_that_is_going_on_or_interrupted_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_step(monkeypatch, 5, interrupt)
    run = train(tiny())
    frame = load_runs("runs").runs
    assert frame["status"].tolist() == ["interrupted"] * 2
    assert frame["step"].tolist() == [6, 6]
    assert frame["test_error"].isna().all()
    edit(run, lambda contents: contents.update(status="running"))
    assert load_runs("runs").runs["status"].tolist() == ["running"] * 2


@pytest.mark.parametrize("name", ["metrics.parquet", "layers.parquet"])
def test_a_run_whose_rows_are_missing_is_named_not_taken_for_one_without_any(
    runs: Path, name: str
) -> None:
    run = next(Path("runs/depth").iterdir())
    lost = copy_of(run, "lost")
    (lost / name).unlink()
    loaded = load_runs(runs)
    assert loaded.skipped == [(str(lost), f"{name} is missing")]
    assert loaded.runs["path"].tolist() == [str(run)] * 2


def test_a_run_as_a_report_publishes_it_has_its_final_numbers_and_no_rows(runs: Path) -> None:
    whole = load_runs(runs)
    run = next(Path("runs/depth").iterdir())
    published = Path("published", run.name)
    published.mkdir(parents=True)
    for name in ("run.json", "config.yaml"):
        shutil.copy(run / name, published / name)
    loaded = load_runs("published")
    pd.testing.assert_frame_equal(loaded.runs.drop(columns="path"), whole.runs.drop(columns="path"))
    assert (len(loaded.metrics), len(loaded.layers), loaded.skipped) == (0, 0, [])
    assert list(loaded.layers.columns) == list(whole.layers.columns)
    for first, second in (("a", "b"), ("b", "a")):
        both = Path(first + second)
        shutil.copytree("published", both / first)
        shutil.copytree(run, both / second / run.name)
        pd.testing.assert_frame_equal(load_runs(both).metrics, whole.metrics)


STRANGERS = (
    *(".DS_Store", "._run.json", "Thumbs.db", "desktop.ini", "README.md", "run.json~", "notes.txt"),
    *(".run.json.swp", "config.yaml.bak", ".ipynb_checkpoints/run.json", "__MACOSX/run.json"),
    *(".git/HEAD", ".Trash-1000/files/run/run.json", "run-checkpoint.json", "._metrics.parquet"),
)


def litter(folder: Path) -> None:
    for name in STRANGERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a stranger's")


def test_strangers_files_beside_and_in_runs_do_not_matter(runs: Path) -> None:
    run = next(Path("runs/depth").iterdir())
    published = Path("published", "depth", run.name)
    published.mkdir(parents=True)
    for name in ("run.json", "config.yaml"):
        shutil.copy(run / name, published / name)
    for root, inner in (("runs", run), ("published", published)):
        before = load_runs(root)
        for folder in (Path(root), inner.parent, inner, inner / "checkpoints", inner / "weights"):
            if folder.is_dir():
                litter(folder)
        after = load_runs(root)
        pd.testing.assert_frame_equal(after.runs, before.runs)
        pd.testing.assert_frame_equal(after.metrics, before.metrics)
        assert after.skipped == []
        assert foreign_folders(Path(root)) == []


@pytest.mark.parametrize("left", ["checkpoints", "weights"])
def test_a_run_that_has_lost_both_tables_is_none_as_a_report_publishes_it(
    runs: Path, left: str
) -> None:
    run = next(Path("runs/depth").iterdir())
    lost = copy_of(run, "lost")
    for name in {"metrics.parquet", "layers.parquet"}:
        (lost / name).unlink()
    shutil.rmtree(lost / ({"checkpoints", "weights"} - {left}).pop())
    assert load_runs(runs).skipped == [(str(lost), "metrics.parquet is missing")]


def test_the_same_run_found_twice_counts_once(runs: Path) -> None:
    run = next(Path("runs/depth").iterdir())
    behind = copy_of(run, "a-copy-that-is-behind")
    edit(behind, lambda contents: contents.update(step=2, status="interrupted"))
    loaded = load_runs(runs)
    assert loaded.runs["path"].tolist() == [str(run)] * 2
    assert loaded.skipped == [(str(behind), f"the same run as {run}")]
    assert len(loaded.metrics) == len(rows(run, "metrics"))


def drop_column(run: Path) -> None:
    table = pq.read_table(run / "metrics.parquet")
    pq.write_table(table.drop_columns(["epoch"]), run / "metrics.parquet")


NONSENSE: tuple[Any, ...] = (None, "text", 3, {})
DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda run: (run / "run.json").write_text("{"), "cannot be read: Expecting property name"),
    (lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"), "cannot be read: 'utf-8' codec"),
    (lambda run: (run / "run.json").write_text('{"loss": 1}'), "is not of format 1"),
    (lambda run: (run / "run.json").write_text('{"format": 1}'), "run.json or config.yaml lacks"),
    (lambda run: (run / "config.yaml").unlink(), "No such file"),
    (lambda run: (run / "config.yaml").write_text("recipe: {}"), "config.yaml is that of run "),
    (lambda run: (run / "config.yaml").write_text("a: [b"), "while parsing"),
    (
        lambda run: (run / "metrics.parquet").write_bytes(b"PAR1 and then nothing"),
        "metrics.parquet",
    ),
    (drop_column, "metrics.parquet has columns"),
    (lambda run: (run / "layers.parquet").write_bytes(b""), "layers.parquet"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=[reason for _, reason in DAMAGES])
def test_a_broken_or_foreign_entry_is_left_out_and_named(
    runs: Path, damage: Callable[[Path], object], reason: str
) -> None:
    run = next(Path("runs/depth").iterdir())
    broken = copy_of(run, "broken")
    damage(broken)
    loaded = load_runs(runs)
    assert loaded.runs["path"].tolist() == [str(run)] * 2
    [(path, told)] = loaded.skipped
    assert path == str(broken)
    assert reason in told
    assert "\n" not in told


def test_no_nonsense_in_a_run_file_breaks_the_reading_of_others(runs: Path) -> None:
    run = next(Path("runs/depth").iterdir())
    broken = copy_of(run, "broken")
    sound = info(broken)
    places: list[tuple[Any, ...]] = [(key,) for key in sound]
    places += [("networks", 0, key) for key in sound["networks"][0]]
    places += [(part, key) for part in ("data", "provenance") for key in sound[part]]
    for *path, key in places:
        for nonsense in NONSENSE:
            contents = json.loads(json.dumps(sound))
            holder = contents
            for step in path:
                holder = holder[step]
            holder[key] = nonsense
            (broken / "run.json").write_text(json.dumps(contents))
            loaded = load_runs(runs)
            assert str(run) in {*loaded.runs["path"], *(path for path, _ in loaded.skipped)}


def test_where_there_is_no_run_the_message_says_so(runs: Path) -> None:
    Path("empty").mkdir()
    run = next(Path("runs/depth").iterdir())
    (run / "run.json").write_text("{")
    for folder, message in (
        ("nowhere", "^nowhere is no directory: give the folder that holds the runs$"),
        ("empty", "^empty holds no runs: no run.json at or below it$"),
        ("runs", f"^runs holds no run that can be read: {run}: .*run.json cannot be read"),
    ):
        with pytest.raises(UserError, match=message.replace("+", r"\+")):
            load_runs(folder)


def test_tables_have_the_documented_types(runs: Path) -> None:
    run = next(Path("runs/depth").iterdir())
    for table in ("metrics", "layers"):
        schema = pq.read_schema(run / f"{table}.parquet")
        numbers = {"step", "layer", "stage", "block"}
        assert all(schema.field(name).type == pa.int64() for name in numbers & set(schema.names))
        assert schema.field("value").type == pa.float64()


def test_folders_that_hold_no_run_are_foreign_and_a_runs_own_are_not(tmp_path: Path) -> None:
    for folder in ("study/run/weights", "study/notes/deep", ".hidden", "figures"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "study/run/run.json").write_text("{}")
    (tmp_path / "link").symlink_to("study")
    expected = [tmp_path / name for name in ("figures", "link", "study/notes")]
    assert foreign_folders(tmp_path) == expected
    assert foreign_folders(tmp_path / "study/run") == []
