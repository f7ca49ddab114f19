from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import as_runs, member
from tiny_runs import ROOT, rows, tiny

from analysis.groups import restrict
from resnet_lab.runs.frames import load_runs
from resnet_lab.runs.rows import METRICS
from resnet_lab.runs.stack import Rows, Stack, Words
from resnet_lab.training.train import train

SCRIPT = ROOT / "benchmarks" / "many_runs.py"


def benchmark(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_measures_what_it_wrote() -> None:
    told = benchmark(
        "--runs=5", "--repeat=1", "--stages=load,claims", "--folder=made", "--out=measured"
    )
    summary = json.loads(Path("measured/many_runs.json").read_text())
    assert summary["runs"] == 5
    assert set(summary["stages"]) == {"load", "claims"}
    for stage in summary["stages"].values():
        assert stage["rows"] == {"runs": 5, "metrics": 10_000, "layers": layer_rows()}
        assert stage["peak_mb"][0] > 0
    assert [line.split()[0] for line in told.splitlines()[1:3]] == ["load", "claims"]


def layer_rows() -> int:
    """50 recordings: of the network one quantity, of every layer five, and the probe's three."""
    total = 0
    for depth, residual in ((56, False), (56, True), (62, False), (62, True), (56, False)):
        blocks = (depth - 2) // 2
        total += 1 + 5 * depth + (depth - 1) + (blocks + 1) + blocks * residual
    return 50 * total


def test_the_synthetic_runs_are_as_training_writes_them() -> None:
    benchmark("--write", "--runs=2", "--folder=made")
    made = load_runs("made")
    assert made.skipped == []
    assert made.runs["network"].tolist() == ["plain-56", "resnet-56"]
    assert made.runs["lr"].tolist() == [0.01, 0.01]
    real = train(tiny(network="plain-8-x0.25,resnet-8-x0.25"))
    frames = load_runs(real)
    for name in ("runs", "metrics", "layers"):
        assert list(getattr(made, name)) == list(getattr(frames, name))
    for network, short in (("plain-56", "plain-8-x0.25"), ("resnet-56", "resnet-8-x0.25")):
        recorded = rows(real, "layers", short)
        own = made.layers[made.layers["network"] == network]
        assert set(own["quantity"]) == set(recorded["quantity"])
        names = (frame["name"].str.replace(r"\d+", "0", regex=True) for frame in (own, recorded))
        patterns = [set(each) for each in names]
        assert patterns[0] == patterns[1]


@pytest.mark.parametrize("there", [1, 3])
def test_a_folder_with_another_number_of_runs_is_refused(there: int) -> None:
    for number in range(there):
        (Path("made") / str(number)).mkdir(parents=True)
        (Path("made") / str(number) / "run.json").touch()
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--runs=2", "--folder=made"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == (f"made holds {there} runs, not 2: give another --folder or --runs\n")


# What makes a thousand runs fit: words as small numbers


def test_columns_of_words_are_categories_in_alphabetical_order() -> None:
    for seed in (1, 0):
        train(tiny(seed=seed))
    loaded = load_runs("runs")
    for frame, words in (
        (loaded.metrics, ["run", "network", "split", "metric"]),
        (loaded.layers, ["run", "network", "quantity", "name"]),
    ):
        for name in words:
            categories = frame[name].cat.categories
            assert list(categories) == sorted(set(frame[name]))
            assert pd.api.types.is_string_dtype(categories.dtype)
    for name in ("layer", "stage", "block"):
        assert loaded.layers[name].dtype == "int16"
    parts = [rows(Path(path), "layers") for path in loaded.runs["path"].unique()]
    whole = pd.concat(parts, ignore_index=True)
    own = loaded.layers.drop(columns="run").astype(whole.dtypes.to_dict())
    pd.testing.assert_frame_equal(own, whole)


def test_more_words_than_two_bytes_can_count_are_kept_apart() -> None:
    names = [f"network {number}" for number in range(40_000)]
    ends = [names[::2], names[1::2]]
    stack = Stack(METRICS)
    for run, known in enumerate(ends):
        count = len(known)
        words = {
            "network": Words(np.arange(count), known),
            "split": Words(np.zeros(count, dtype=int), ["train"]),
            "metric": Words(np.zeros(count, dtype=int), ["error"]),
        }
        values = np.arange(count, dtype=float)
        numbers = {"step": np.arange(count), "epoch": values, "value": values}
        stack.add(f"run {run}", Rows(count, words, numbers))
    frame = stack.frame()
    assert frame["network"].tolist() == [*ends[0], *ends[1]]
    assert frame["run"].tolist() == ["run 0"] * 20_000 + ["run 1"] * 20_000
    assert frame["value"].tolist() == [*range(20_000), *range(20_000)]


def test_rows_of_members_are_found_where_runs_hold_more_than_one() -> None:
    runs = as_runs([member(name, seed) for seed in (0, 1) for name in ("plain-8", "plain-20")])
    chosen = runs.runs.iloc[[0, 3]]
    metrics = restrict(runs, chosen).metrics
    kept = metrics[["run", "network"]].drop_duplicates().to_numpy().tolist()
    assert kept == [["0" * 16, "plain-8"], ["0" * 15 + "1", "plain-20"]]
    assert len(metrics) == len(runs.metrics) / 2
    assert restrict(runs, runs.runs.iloc[:0]).metrics.empty
