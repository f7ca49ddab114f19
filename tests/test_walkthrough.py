from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import demo_runs
from tiny_runs import ROOT, info, tiny

from analysis.claims import evaluate
from analysis.claims.contrast import by_depth
from analysis.groups import split_groups
from analysis.statistics import mean_interval, paired
from analysis.walkthrough import Walk, begin, does_depth_hurt, is_it_overfitting
from resnet_lab.runs.frames import Runs, load_runs
from resnet_lab.training.train import train

SCRIPT = ROOT / "analysis" / "walkthrough.py"
NETWORKS = ("plain-8", "plain-20", "resnet-8", "resnet-20")
FIGURES = ("training_curves", "error_vs_depth", "growth", "freeze", "layer_maps")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of four networks, twins in one run, and a broken run beside them."""
    folder = tmp_path_factory.mktemp("study") / "runs"
    for seed in (0, 1):
        for depth in (8, 20):
            pair = f"plain-{depth}-x0.25,resnet-{depth}-x0.25"
            train(tiny(folder, network=pair, seed=seed))
    (folder / "broken").mkdir()
    (folder / "broken/run.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def told(study: Path) -> str:
    """What the script prints when it is run as a student would."""
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(SCRIPT),
            str(study),
            "--out",
            str(study.parent / "out"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def runs(study: Path) -> Runs:
    return load_runs(study)


def row(told: str, section: int, network: str) -> list[list[str]]:
    """Cells of every table row of a network in one of the seven parts."""
    part = told.split(f"\n{section}. ")[1].split(f"\n{section + 1}. ")[0]
    lines = [line for line in part.splitlines() if re.match(rf"{network}\b(?! minus|,)", line)]
    return [re.split("  +", line.strip()) for line in lines]


def test_it_goes_through_all_questions_and_draws_what_they_need(told: str, study: Path) -> None:
    assert re.findall(r"^(\d)\. .*\?$", told, re.MULTILINE) == list("1234567")
    for name in FIGURES:
        path = study.parent / "out" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"figure: {path}" in told
    assert f"left out: {study}/broken: {study}/broken/run.json" in told


def test_the_inventory_is_that_of_the_runs(told: str, runs: Runs) -> None:
    for name in NETWORKS:
        (cells,) = row(told, 1, name)
        own = runs.runs[runs.runs["network"] == f"{name}-x0.25"]
        size, cost = own["parameters"].iloc[0], own["multiply_adds"].iloc[0]
        depth = name.split("-")[1]
        assert cells == [name, depth, f"{size:,}", f"{cost:,}", "0 1", "2"]


def test_twins_start_from_the_same_weights(told: str) -> None:
    for depth in (8, 20):
        assert re.search(rf"^plain-{depth}, resnet-{depth}  +0  +0  +2  +0$", told, re.MULTILINE)


def test_printed_errors_are_those_of_the_run_directories(told: str, study: Path) -> None:
    finals: dict[str, list[float]] = {}
    for file in sorted(study.glob("*+*/run.json")):
        for member in info(file.parent)["networks"]:
            finals.setdefault(member["network"], []).append(member["final"]["train_error"])
    for name in NETWORKS:
        values = finals[f"{name}-x0.25"]
        (cells,) = row(told, 3, name)
        assert cells == [name, "2", f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"]


def test_printed_differences_are_paired_by_seed(told: str, runs: Runs) -> None:
    for split, text in (("train", "training error at the end"), ("test", "test error")):
        sides = ("plain-20-x0.25", "plain-8-x0.25", f"{split}_error")
        pairs = paired(runs.runs, "network", *sides)
        found = mean_interval(pairs["first"] - pairs["second"])
        mean, low, high = (found[name] for name in ("mean", "low", "high"))
        digits = 1 if abs(mean) >= 0.995 else 2
        numbers = f"{mean:.{digits}f} points, 95 % interval [{low:.{digits}f}, {high:.{digits}f}]"
        assert f"plain-20 minus plain-8 {text} {numbers}, n = 2" in told


def test_a_contrast_has_one_interval_and_says_for_how_many_it_is_corrected(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts 3 and 4 compare plain-56 with plain-8: the same numbers, corrected alike."""
    walk = begin(study, Path("out"))
    three = Walk(demo_runs(), split_groups(demo_runs())[0], Path("out"))
    assert len(by_depth(three.plain)) == 3
    told = []
    for part in (does_depth_hurt, is_it_overfitting):
        part(three)
        told.append(capsys.readouterr().out)
    at_end, again = (
        re.search(r"plain-56 minus plain-8 training error.*?points, (.*\])", text) for text in told
    )
    assert at_end is not None
    assert again is not None
    assert at_end[1] == again[1]
    said = "intervals corrected for 2 comparisons: together 95 %, each 97.5 %"
    assert all(said in text for text in told)
    does_depth_hurt(walk)
    assert "intervals not corrected: one comparison" in capsys.readouterr().out


def test_the_stems_first_steps_are_the_recorded_ones(told: str, runs: Runs) -> None:
    layers = runs.layers[runs.layers["name"] == "stem.conv"]
    for place, quantity in enumerate(("relative_update", "weight_norm", "update_angle")):
        rows = layers[(layers["quantity"] == quantity) & layers["step"].isin((0, 1, 2, 4, 8))]
        for name in NETWORKS:
            own = rows[rows["network"] == f"{name}-x0.25"]
            logs = own.assign(log=np.log(own["value"])).groupby("step")["log"].mean()
            cells = row(told, 6, name)[place - 3]
            assert cells == [name, *(f"{value:.4g}" for value in np.exp(logs))]


def test_it_ends_with_the_verdicts(told: str, runs: Runs) -> None:
    last = told.split("7. What may I conclude")[1]
    verdicts = evaluate(runs)
    for verdict in verdicts:
        assert f"{verdict.title}: {verdict.verdict} ({verdict.evidence})" in last
    cautions = [last.index("degradation: "), last.index("support, not why it is so.")]
    assert cautions == sorted(cautions)
    assert last.index(f"\n{verdicts[0].protocol}:\n", cautions[1])


def test_without_a_second_depth_it_says_what_is_missing(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = begin(study, Path("out"))
    members = whole.group.members[whole.group.members["depth"] == 8]
    does_depth_hurt(replace(whole, group=replace(whole.group, members=members)))
    assert "there is one plain depth only: nothing to compare" in capsys.readouterr().out


def test_every_cell_is_a_program_of_its_own() -> None:
    cells = re.split(r"^# %%.*$", SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(cells) == 17
    for cell in cells:
        compile(cell, "cell", "exec")


def test_without_a_reader_it_ends_quietly(study: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(study)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, told = process.communicate(timeout=300)
    assert (process.returncode, told) == (-signal.SIGPIPE, "")
