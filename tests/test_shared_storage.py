"""One storage for many: a run counts where it is, and studies do not meet by their files' names."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import BaseStorage
from tiny_runs import PLAIN, info

from resnet_lab.cli import main
from resnet_lab.sweeps import worker
from resnet_lab.sweeps.job import Job
from resnet_lab.sweeps.queue import PLACE, Queue, open_study
from resnet_lab.sweeps.storage import close, open_storage
from resnet_lab.sweeps.study_name import read_study

FIXED: dict[str, Any] = {
    "network": {"value": PLAIN},
    "data.test": {"value": False},
    "recipe.iterations": {"value": 4},
    "recipe.evaluate_every": {"value": 2},
    "recipe.batch_size": {"value": 16},
    "recording.enabled": {"value": False},
    "trainer.device": {"value": "cpu"},
}
GRID = {"method": "grid", "parameters": {**FIXED, "seed": {"values": [0, 1]}}}
LRS = {"distribution": "log_uniform_values", "min": 0.01, "max": 0.1}
SEARCH = {"method": "random", "run_cap": 2, "parameters": {**FIXED, "recipe.lr": LRS}}
KINDS = pytest.mark.parametrize("content", [GRID, SEARCH], ids=["grid", "search"])


BOTH = pytest.mark.parametrize("url", ["journal", "postgresql"], indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage that is empty: of PostgreSQL a database of its own."""
    if getattr(request, "param", "journal") == "journal":
        return str(tmp_path / "shared.journal")
    import psycopg

    server = request.getfixturevalue("postgresql")
    name = f"d{abs(hash(str(tmp_path))):x}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


def sweep(
    content: dict[str, Any], runs_dir: str, url: str, *more: str, file: str = "s.yaml"
) -> int:
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(yaml.safe_dump({"program": "resnet-lab", **content}))
    return main(["sweep", file, "--runs-dir", runs_dir, "--storage", url, *more])


def finished(folder: str) -> list[Path]:
    return sorted(file.parent for file in Path(folder).glob("*/run.json"))


def names(url: str) -> list[str]:
    storage = open_storage(url, Path.cwd())
    found = sorted(optuna.get_all_study_names(storage))
    close(storage)
    return found


@KINDS
def test_another_runs_dir_is_told_where_the_runs_are(
    content: dict[str, Any], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(content, "mine", url) == 0
    capsys.readouterr()
    for flags in ([], ["--dry-run"]):
        assert sweep(content, "other", url, *flags) == 2
        told = capsys.readouterr().err
        assert told.startswith("resnet-lab: the study 's' of this storage has 2 runs finished that")
        assert f"written to {Path.cwd()}/mine/s. Give --runs-dir {Path.cwd()}/mine to go" in told
        assert told.count("\n") == 1
    assert not Path("other").exists()
    assert sweep(content, "other", url, "--study", "t") == 0
    assert len(finished("other/t")) == 2
    Path("mine").rename("moved")
    assert sweep(content, "moved", url) == 0
    assert capsys.readouterr().out.count("2 of 2 runs finished") == 2


@KINDS
def test_a_run_whose_directory_was_removed_is_trained_again(
    content: dict[str, Any], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(content, "mine", url) == 0
    kept, removed = finished("mine/s")
    before = (kept / "run.json").stat().st_mtime_ns, info(removed)["networks"][0]["final"]
    shutil.rmtree(removed)
    assert sweep(content, "mine", url, "--dry-run") == 0
    assert "2 runs: 1 finished, 1 to do" in capsys.readouterr().out.replace(
        "1 to do, 1 finished", "1 finished, 1 to do"
    )
    assert sweep(content, "mine", url) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    assert ((kept / "run.json").stat().st_mtime_ns, info(removed)["networks"][0]["final"]) == before


@KINDS
def test_runs_on_another_machine_do_not_count_here(
    content: dict[str, Any],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(socket, "gethostname", lambda: "far")
        assert sweep(content, "mine", url, "--count", "1") == 0
        [far] = finished("mine/s")
    capsys.readouterr()
    assert sweep(content, "other", url) == 1
    out = capsys.readouterr().out
    assert out.startswith("1 of 2 runs finished\n")
    assert f"1 run is finished elsewhere, in {Path.cwd()}/mine/s on far: copy into" in out
    shutil.copytree(far, Path("other/s", far.name))
    assert sweep(content, "other", url) == 0
    assert capsys.readouterr().out.startswith("2 of 2 runs finished\n")


@BOTH
def test_files_of_one_name_are_different_studies(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = {**SEARCH, "parameters": {**FIXED, "recipe.lr": {**LRS, "max": 0.5}}}
    for runs_dir, content in (("a", SEARCH), ("b", wide), ("c", GRID)):
        assert sweep(content, runs_dir, url, file=f"{runs_dir}/s.yaml") == 0
        assert capsys.readouterr().out.startswith("2 of 2 runs finished\n")
        assert len(finished(f"{runs_dir}/s")) == 2
    assert len(names(url)) == 3
    assert all(name.startswith("s-") for name in names(url))
    assert sweep(wide, "a", url) == 2
    assert "was begun with other parameters, and a search cannot" in capsys.readouterr().err
    grown = {**GRID, "parameters": {**GRID["parameters"], "seed": {"values": [0, 1, 2]}}}  # type: ignore[dict-item]
    assert sweep(grown, "c", url) == 0
    assert capsys.readouterr().out.startswith("3 of 3 runs finished\n")
    assert len(names(url)) == 3


@BOTH
@KINDS
def test_a_study_that_an_earlier_version_began_goes_on_under_its_name(
    content: dict[str, Any],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It was called by its file's name alone, and did not note where its runs went."""

    def only_name(storage: BaseStorage, job: Job) -> str:
        return job.study

    note: Callable[..., None] = Queue.note
    with monkeypatch.context() as earlier:
        earlier.setattr("resnet_lab.sweeps.job.shared_name", only_name)
        earlier.setattr("resnet_lab.sweeps.job.note_study", lambda *given: None)
        earlier.setattr(
            Queue,
            "note",
            lambda self, trial, name, value: name == PLACE or note(self, trial, name, value),
        )
        assert sweep(content, "mine", url, "--count", "1") == 0
    assert names(url) == ["s"]
    [first] = finished("mine/s")
    before = (first / "run.json").stat().st_mtime_ns
    assert sweep(content, "mine", url) == 0
    assert names(url) == ["s"]
    assert (first / "run.json").stat().st_mtime_ns == before
    assert "2 of 2 runs finished" in capsys.readouterr().out
    other = {**content, "parameters": {**content["parameters"], "seed": {"values": [7]}}}
    if content is SEARCH:
        assert sweep({**other, "metric": {"name": "validation_loss"}}, "mine", url) == 2
        assert "its runs are in mine/s; give another name" in capsys.readouterr().err
    else:
        assert sweep(other, "elsewhere", url) == 0
        assert [name[:2] for name in names(url)] == ["s", "s-"]


def test_a_study_of_an_earlier_version_in_another_runs_dir_is_not_taken_for_finished(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "PLACE", "ignored")
    assert sweep(GRID, "mine", url) == 0
    capsys.readouterr()
    assert sweep(GRID, "other", url) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "0 of 2 runs finished\n2 runs are finished elsewhere, in a runs directory "
    )


def test_what_a_study_is_called_does_not_depend_on_what_else_the_storage_holds(url: str) -> None:
    storage = open_storage(url, Path.cwd())
    with closing(Queue(open_study("s", storage, "of somebody else"), storage)):
        pass
    assert sweep(SEARCH, "mine", url) == 0
    [mine] = [name for name in names(url) if name != "s"]
    assert read_study(Path("mine/s"))["study"] == mine
    Path("s.yaml").write_text(yaml.safe_dump({"program": "resnet-lab", **SEARCH}))
    assert main(["sweep", "s.yaml", "--runs-dir", "fresh"]) == 0
    assert len(finished("fresh/s")) == 2
