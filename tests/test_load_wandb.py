"""Runs read back from W&B with the real client, at a stand-in for its server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import PLAIN, RESIDUAL, at_step, interrupt, tiny
from wandb_server import SECONDS, Server

from resnet_lab.cli.source import read_source
from resnet_lab.errors import UserError
from resnet_lab.training.train import train

COMPARE = """
    import json, sys
    import pandas as pd
    import resnet_lab as rl

    local = rl.load_runs("runs")
    for options in json.loads(sys.argv[1]):
        found = rl.load_wandb("researcher/lab", **options)
        for name in ("runs", "metrics", "layers"):
            one, other = getattr(local, name), getattr(found, name)
            if name == "runs":
                one, other = one.drop(columns="path"), other.drop(columns="path")
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        print(json.dumps([found.runs["path"].tolist(), found.skipped]))
    assert not {"torch", "pytorch_lightning"} & set(sys.modules)
"""
REFUSED = """
    import json, sys
    import resnet_lab as rl

    for project in json.loads(sys.argv[1]):
        try:
            rl.load_wandb(project)
        except rl.UserError as error:
            print(error)
"""
COMMANDS = """
    import contextlib, io, json, sys
    from resnet_lab.cli import main

    for arguments in json.loads(sys.argv[1]):
        with contextlib.redirect_stdout(io.StringIO()) as told:
            code = main(arguments)
        print(json.dumps([code, told.getvalue()]))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
    assert not server.errors


def python(environment: dict[str, str], home: Path, script: str, argument: Any) -> list[str]:
    """Run a script; returns the lines that it printed."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), json.dumps(argument)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def test_a_project_is_read_as_its_run_directories_are(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        train(tiny(study="b", network=RESIDUAL, iterations=2)),
        train(tiny(study="a", iterations=2)),
        train(tiny(iterations=2, seed=1)),
    ]
    at_step(monkeypatch, 3, interrupt)
    runs.append(train(tiny(study="b", network=PLAIN)))
    for number in range(60):  # more than one page of the server's answer
        server.add("lab", f"other{number}")
    for number, run in enumerate(runs):
        server.add("lab", f"run{number}", run).group = "ours"
    server.add("elsewhere", "run9", runs[0])
    server.add("lab", "damaged", runs[0]).files["run_directory/run.json"] = b"{"
    server.add("lab", "copy", runs[1])

    cache = str(tmp_path / "cache")
    options = [{}, {"filters": {"group": "ours"}}, {"cache": cache}, {"cache": cache}]
    lines = python(server.environment(tmp_path), tmp_path, COMPARE, options)
    (paths, skipped), (_, none), *cached = map(json.loads, lines)
    order = ("copy", "copy", "run3", "run0", "run2", "run2")
    assert paths == [f"researcher/lab/{name}" for name in order]
    assert none == []
    (damaged, why), *others = skipped
    assert damaged == "researcher/lab/damaged"
    assert why.startswith("researcher/lab/damaged/run.json cannot be read")
    assert others[0] == ["researcher/lab/run1", "the same run as researcher/lab/copy"]
    foreign = [f"researcher/lab/other{number}" for number in range(60)]
    assert others[1:] == [[path, "not a run of resnet_lab"] for path in foreign]
    assert cached == [[paths, skipped]] * 2
    assert len(server.downloads) == 3 * 6 * 4 - 2 * 4  # all, ours, all, nothing


def test_what_cannot_be_read_is_said(server: Server, tmp_path: Path) -> None:
    server.add("foreign", "other")
    environment = server.environment(tmp_path)
    lines = python(environment, tmp_path, REFUSED, ["researcher/foreign", "researcher/nowhere"])
    assert lines == [
        "the W&B project 'researcher/foreign' holds no run of resnet_lab (1 others)",
        "W&B does not list the runs of 'researcher/nowhere': Could not find project nowhere",
    ]
    del environment["WANDB_API_KEY"]
    assert python(environment, tmp_path, REFUSED, ["researcher/foreign"]) == [
        "nobody is logged in to W&B: run `wandb login`, or set WANDB_API_KEY"
    ]


def test_commands_read_a_project_as_they_read_a_folder(server: Server, tmp_path: Path) -> None:
    for number, study in enumerate("ab"):
        run = train(tiny(study=study, iterations=2))
        server.add("lab", f"run{number}", run).group = study
    commands = [["claims", "--json"], ["claims", "--scoreboard"], ["doctor"]]
    sources = ["runs/b", "wandb:researcher/lab/b"]
    lines = python(
        server.environment(tmp_path),
        tmp_path,
        COMMANDS,
        [[*command, source] for command in commands for source in sources]
        + [["report", sources[1], "--out", "page"]],
    )
    *pairs, (code, report) = map(json.loads, lines)
    assert code == 0
    assert report.splitlines()[-1] == f"report: {tmp_path / 'page' / 'index.html'}"
    assert f"{PLAIN} " in report
    assert [one for one, _ in pairs] == [0] * 6
    told = [" ".join(text.replace(" \\\n", "\n").split()) for _, text in pairs]
    there = "researcher/lab/ID is in W&B: `wandb pull -e researcher -p lab ID` puts its files into"
    assert "--config researcher/lab/run1/config.yaml" in told[-1]
    assert told[-1].endswith(f" {there} run_directory/")
    here = [text.replace(str(run), "researcher/lab/run1") for text in told[::2]]
    assert [*here[:-1], f"{here[-1]} {there} run_directory/"] == told[1::2]


@pytest.mark.parametrize("given", ["wandb:", "wandb:lab", "wandb:me//b", "wandb:me/lab/b/c"])
def test_a_project_is_named_with_its_entity(given: str) -> None:
    with pytest.raises(UserError, match=f"'{given}': give wandb:ENTITY/PROJECT"):
        read_source(given)
