"""A leading ~ in any path that a user gives is the home directory, whoever reads the path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from synthetic_runs import demo_runs
from tiny_runs import PLAIN, info, tiny

import resnet_lab as rl
from analysis.figures import plot_error_vs_depth, style
from analysis.report.write import write_report
from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.data.config import default_data_dir
from resnet_lab.errors import UserError
from resnet_lab.files import user_path
from resnet_lab.sweeps.storage import open_storage

SHORT = "--recipe.iterations=2 --recipe.batch_size=16 --trainer.device=cpu"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory beside the current folder."""
    folder, here = tmp_path / "home", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("RESNET_LAB_DATA", raising=False)
    return folder


def test_every_command_finds_and_writes_what_lies_in_the_home_directory(home: Path) -> None:
    (home / "run.yaml").write_text(f"network: {PLAIN}\nruns_dir: ~/runs\n")
    assert main(["train", "--config=~/run.yaml", *SHORT.split()]) == 0
    [run] = (home / "runs").iterdir()
    assert yaml.safe_load((run / "config.yaml").read_text())["runs_dir"] == str(home / "runs")
    assert main(["train", "--config", str(run / "config.yaml")]) == 0, "it repeats the run"
    assert main(["report", "~/runs", "--out=~/report"]) == 0
    assert (home / "report" / "index.html").is_file()
    assert main(["claims", "~/runs"]) == main(["doctor", "~/runs"]) == 0
    run = Path("~", run.relative_to(home))
    weights = str(run / "weights" / f"{PLAIN}.pt")
    assert main(["evaluate", weights, f"--network={PLAIN}", "--data=digits"]) == 0
    assert not list(Path.cwd().iterdir())


def test_a_sweep_its_storage_and_its_runs_may_lie_in_the_home_directory(home: Path) -> None:
    values = {"network": PLAIN, "recipe.iterations": 2, "recipe.batch_size": 16}
    parameters = {name: {"value": value} for name, value in values.items()}
    sweep = {"name": "study", "method": "grid", "parameters": parameters}
    (home / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    places = ["--runs-dir=~/runs", "--storage=~/all.journal"]
    assert main(["sweep", "~/sweep.yaml", *places]) == 0
    [run] = (home / "runs" / "study").glob("plain*")
    assert info(run)["status"] == "finished"
    assert (home / "all.journal").is_file()
    assert not list(Path.cwd().iterdir())


def test_the_python_interface_reads_paths_as_the_commands_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rl.train(tiny("~/runs", network=PLAIN, iterations=2))
    assert run.parent == home / "runs"
    assert list(rl.load_runs("~/runs").runs["network"]) == [PLAIN]
    network = rl.build_network(PLAIN, num_classes=10, in_channels=1)
    rl.save_weights(network, "~/one.pt")
    assert rl.load_weights("~/one.pt", network) == "resnet_lab"
    write_report(rl.load_runs(run), Path("~/report"))
    figure = plot_error_vs_depth(demo_runs())
    assert figure is not None
    style.save_png(figure, Path("~/one.png"))
    open_storage("~/one.journal", Path("study"))
    monkeypatch.setenv("RESNET_LAB_DATA", "~/data")
    assert default_data_dir() == home / "data"
    assert default_data_dir("~/mine") == home / "mine"
    found = {path.name for path in home.iterdir()}
    assert found >= {"runs", "one.pt", "one.png", "one.journal", "report"}
    assert not list(Path.cwd().iterdir())


def test_only_a_leading_tilde_is_the_home_directory(home: Path) -> None:
    assert user_path("~/x") == home / "x"
    for path in ("./~/x", "a~", "x/~/y", "$HOME/x"):
        assert user_path(path) == Path(path)
    for path in ("./~/x", "$HOME/x"):
        assert parse_config([f"--runs_dir={path}"]).runs_dir == path


def test_a_home_that_nobody_knows_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--runs-dir=~nobody-of-that-name/x"]) == 2
    assert capsys.readouterr().err == (
        "resnet-lab: ~nobody-of-that-name/x begins with ~, and no home directory is known: give "
        "the whole path, or set HOME\n"
    )
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(UserError, match="give --data-dir, or set RESNET_LAB_DATA or HOME"):
        default_data_dir()
    assert rl.load_data(rl.DataConfig("digits")).num_classes == 10
