"""The whole file of docs/extending.md, used as a reader would: from another folder, by --parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from extending_page import examples
from tiny_runs import assert_same_result, info

import resnet_lab as rl
from resnet_lab.cli import main
from resnet_lab.parts.files import VARIABLE, forget_files

NETWORKS = ("plain-20-x0.25-swish1-half", "resnet-20-x0.25-swish1-half")
ITERATIONS = 120
FLAGS = (
    *("--network", ",".join(NETWORKS), "--data.name", "parity", "--recipe.optimizer", "rmsprop"),
    *("--recipe.lr", "0.002", "--recipe.iterations", str(ITERATIONS), "--recipe.drops", "[90]"),
    *("--recipe.batch_size", "32", "--recipe.warmup_steps", "0", "--recipe.log_every", "20"),
    *("--recipe.evaluate_every", "60", "--recording.probe_size", "32"),
    *("--trainer.device", "cpu", "--trainer.checkpoint_steps", "10"),
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file, in a folder that is not the one that commands run in."""
    monkeypatch.setenv(VARIABLE, "")
    [whole] = examples()
    path = tmp_path / "elsewhere" / "mine.py"
    path.parent.mkdir()
    path.write_text(whole)
    yield path
    forget_files()


def command(file: Path, runs_dir: str, seed: int) -> list[str]:
    return [*("train", *FLAGS, "--runs-dir", runs_dir), "--seed", str(seed), "--parts", str(file)]


def trained(file: Path, runs_dir: str, seed: int = 0) -> Path:
    assert main(command(file, runs_dir, seed)) == 0
    [run] = [one.parent for one in Path(runs_dir).glob(f"*seed{seed}_*/run.json")]
    return run


def kill_once_there_is_a_checkpoint(file: Path, runs_dir: str) -> None:
    shown = [sys.executable, "-m", "resnet_lab", *command(file, runs_dir, 0)]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(shown, stderr=subprocess.PIPE, text=True, env=threads)
    while process.poll() is None and not list(Path(runs_dir).glob("*/checkpoints/*.ckpt")):
        time.sleep(0.02)
    process.kill()
    _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told


def test_one_file_with_a_part_of_every_kind_is_trained_resumed_reported_and_judged(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(file, "whole")
    kill_once_there_is_a_checkpoint(file, "runs")
    run = trained(file, "runs")
    [resumed] = info(run)["provenance"]["resumed"]
    assert 0 < resumed["step"] < ITERATIONS
    assert resumed["bit_exact"]
    assert info(run)["networks"] == info(whole)["networks"]
    assert_same_result(run, whole, *NETWORKS)
    layers = rl.load_runs("runs").layers.query("quantity == 'mean_activation'")
    assert layers.groupby(["network", "step"], observed=True).size().eq(9).all()  # blocks
    assert layers["value"].gt(0).all()
    assert layers["network"].nunique() == 2

    trained(file, "runs", seed=1)
    capsys.readouterr()
    assert main(["claims", "runs", "--json", "--parts", str(file)]) == 0
    verdicts = {one["id"]: one for one in json.loads(capsys.readouterr().out)}
    own = verdicts["shortcuts-enlarge-activations"]
    at_start = layers.query("step == 0").groupby("network", observed=True)["value"].mean()
    ratio = at_start[NETWORKS[1]] / at_start[NETWORKS[0]]
    assert own["n"] == 2
    assert own["effect"] == pytest.approx(ratio, rel=0.3)
    assert main(["report", "runs", "--out", "page", "--parts", str(file)]) == 0
    page = Path("page/index.html").read_text()
    for said in ("branch halved", "swish", "mean activation", "rmsprop", "parity"):
        assert said in page, said

    forget_files()
    file.write_text(file.read_text().replace("x / 2", "x / 3"))
    assert trained(file, "changed").name != run.name
