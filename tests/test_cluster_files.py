from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from checkout import own_files
from tiny_runs import ROOT

from resnet_lab.cli import COMMANDS
from resnet_lab.cli.parsing import config_parser, parse_config
from resnet_lab.cli.sweep import sweep_parser
from resnet_lab.sweeps.distributions import DISTRIBUTIONS
from resnet_lab.sweeps.sweep_file import KEYS

SCRIPTS = own_files("docs/cluster/*")
DOCUMENTS = [ROOT / "docs" / "sweeps.md", ROOT / "docs" / "cluster.md"]
VARIABLES = {"$file": "sweeps/fair_tuning.yaml", "$SWEEP_FILE": "sweeps/fair_tuning.yaml"}
LIMIT = 60
"""Seconds after which a script that hangs is killed."""


def commands(text: str) -> Iterator[list[str]]:
    """Every `resnet-lab COMMAND ...` of a script or of a document's indented lines, as words."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        found = re.search(r"(?<![\w./])resnet-lab (\w+) .*", line.split(" # ")[0])
        if found and (found[1] in COMMANDS) and not line.startswith("#"):
            plain = re.split(r" &$| \|\| ", found[0])[0]
            yield [VARIABLES.get(word, word) for word in shlex.split(plain)[1:]]


def in_document(file: Path) -> list[list[str]]:
    lines = [line for line in file.read_text().splitlines() if line.startswith("    ")]
    return list(commands("\n".join(lines)))


def directives(script: Path) -> dict[str, str]:
    """What a batch script asks SLURM for."""
    lines = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?", script.read_text(), re.MULTILINE)
    return dict(lines)


def of(name: str) -> str:
    return (ROOT / "docs" / "cluster" / name).read_text()


CALLS = [
    *((script.name, call) for script in SCRIPTS for call in commands(script.read_text())),
    *((file.name, call) for file in DOCUMENTS for call in in_document(file)),
]


def test_the_scripts_are_these() -> None:
    assert [script.name for script in SCRIPTS] == [
        *("array.sbatch", "multi_node.sbatch", "torchrun.sh")
    ]
    assert {name for name, _ in CALLS} == {*(s.name for s in SCRIPTS), "sweeps.md", "cluster.md"}
    assert {call[0] for _, call in CALLS} >= {"train", "sweep", "report"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_valid_bash_that_stops_at_the_first_error(script: Path) -> None:
    checked = subprocess.run(
        ["bash", "-n", str(script)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    first = next(line for line in lines if line and not line.startswith("#"))
    assert first == "set -euo pipefail", "SLURM reads its directives only before the first command"


@pytest.mark.parametrize(("name", "call"), CALLS, ids=lambda part: str(part)[:60])
def test_every_flag_is_one_that_the_command_has(name: str, call: list[str]) -> None:
    command, rest = call[0], call[1:]
    place = rest.index("--") if "--" in rest else len(rest)
    parsers = {"train": config_parser(), "sweep": sweep_parser()}
    train = parsers["train"]._option_string_actions
    known = {"report": {"--out"}, "claims": {"--json"}}.get(command, set())
    known |= set(parsers[command]._option_string_actions) if command in parsers else set()
    for word in rest[:place]:
        assert not word.startswith("--") or word.split("=")[0] in known, f"{name}: {word}"
    for word in rest[place + 1 :]:
        assert not word.startswith("--") or word.split("=")[0] in train, f"{name}: {word}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_file_that_a_script_names_exists(script: Path) -> None:
    named = re.findall(r"\b(?:sweeps|experiments|docs)/[\w./-]+\w", script.read_text())
    assert named
    for file in named:
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_and_file_of_a_document_exists(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    for link in links:
        assert (document.parent / link).exists(), link
    for file in re.findall(r"(?<![\w/])(?:sweeps|experiments|docs)/[\w./-]+\w", text):
        assert (ROOT / file).exists(), file


def test_every_sweep_is_in_the_documents_table() -> None:
    text = (ROOT / "docs" / "sweeps.md").read_text()
    for file in own_files("sweeps/*.yaml"):
        assert f"(../sweeps/{file.name})" in text, file.name


def test_every_option_key_and_distribution_is_explained() -> None:
    text = (ROOT / "docs" / "sweeps.md").read_text()
    hidden = {"-h", "--help", "--heartbeat"}
    options = set(sweep_parser()._option_string_actions) - hidden
    assert len(options) > 10
    for word in [*options, *DISTRIBUTIONS]:
        assert re.search(rf"`{word}[ `]", text), word
    for key in KEYS:
        assert re.search(rf"^{key}:|`{key}`", text, re.MULTILINE), key


def test_no_password_is_on_a_command_line() -> None:
    """A URL with a password stands in cluster.md alone, as a value of the variable."""
    secret = re.compile(r"\S*postgresql\S*://[^@\s:]*:[^@\s]*@\S*")
    for script in SCRIPTS:
        assert not secret.search(script.read_text())
    for name, call in CALLS:
        assert not any("postgresql" in word for word in call), name
    [mention] = secret.findall(" ".join(file.read_text() for file in DOCUMENTS))
    assert mention.startswith("`postgresql://USER:PASSWORD@")


# One run over several machines


def test_slurm_starts_as_many_processes_as_the_run_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    [call] = commands(of("multi_node.sbatch"))
    config = parse_config(call[1:])
    asked = directives(ROOT / "docs" / "cluster" / "multi_node.sbatch")
    assert config.trainer.nodes == int(asked["nodes"])
    assert config.trainer.processes_here == int(asked["ntasks-per-node"])
    assert asked["gres"] == f"gpu:{config.trainer.processes_here}"
    assert config.trainer.processes * config.recipe.ghost_batch == config.recipe.batch_size
    alone = [*call[1:], "--trainer.nodes=1", "--trainer.devices=8"]
    assert parse_config(alone).run_id() == config.run_id()


def test_the_torchrun_line_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [line] = re.findall(r"torchrun --nnodes.*", re.sub(r"\\\n\s*", " ", DOCUMENTS[1].read_text()))
    words = shlex.split(line)
    config = parse_config(words[words.index("train") + 1 :])
    assert words[words.index("--nnodes") + 1] == str(config.trainer.nodes)
    assert words[words.index("--nproc-per-node") + 1] == str(config.trainer.processes_here)
    [script] = commands(of("multi_node.sbatch"))
    assert config.run_id() == parse_config(script[1:]).run_id()


# What the scripts do, with stand-ins for what a cluster has


def stand_in(name: str, body: str) -> None:
    """Put a program `name` first in PATH that writes down its arguments, then does `body`."""
    file = Path("bin", name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, subprocess, sys\n"
        f"with open({str(Path.cwd() / name)!r}, 'a') as told:\n"
        "    print(*sys.argv[1:], file=told)\n" + body
    )
    file.chmod(0o755)


def environment(**more: str) -> Mapping[str, str]:
    slurm = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    kept = {name: value for name, value in os.environ.items() if name != "RESNET_LAB_STORAGE"}
    path = f"{Path.cwd() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **slurm, "PATH": path, **more}


def start(script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(ROOT / "docs" / "cluster" / script), *arguments],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(name: str) -> str:
    return Path(name).read_text().strip()


UNTIL_ASKED = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
print("training", flush=True)
signal.pause()
"""
STORAGE = "postgresql://me@host/studies"


@pytest.mark.parametrize(
    ("script", "program", "job"),
    [("array.sbatch", "resnet-lab", "7_3"), ("multi_node.sbatch", "srun", "7")],
)
def test_a_job_whose_time_is_up_ends_its_run_and_queues_itself_again(
    script: str, program: str, job: str
) -> None:
    stand_in(program, UNTIL_ASKED)
    stand_in("scontrol", "")
    with start(script, RESNET_LAB_STORAGE=STORAGE) as batch:
        assert batch.stdout is not None
        try:
            assert batch.stdout.readline() == "training\n"
            batch.send_signal(signal.SIGTERM)
            assert batch.wait(LIMIT) == 0
        finally:
            batch.kill()
    assert told("scontrol") == f"requeue {job}"
    assert directives(ROOT / "docs" / "cluster" / script)["signal"].startswith("B:TERM@")


@pytest.mark.parametrize("code", [0, 1])
def test_a_task_of_the_array_is_one_worker_and_ends_as_it_does(code: int) -> None:
    stand_in("resnet-lab", f"sys.exit({code})")
    with start("array.sbatch", "sweeps/search_lr.yaml", RESNET_LAB_STORAGE=STORAGE) as batch:
        batch.communicate(timeout=LIMIT)
    assert batch.returncode == code
    place = Path.cwd() / "runs"
    assert told("resnet-lab") == f"sweep sweeps/search_lr.yaml --runs-dir {place} --retries 1"


@pytest.mark.parametrize("script", ["array.sbatch", "torchrun.sh"])
def test_without_a_storage_the_script_says_what_to_set(script: str) -> None:
    stand_in("resnet-lab", "")
    with start(script, "sweeps/search_lr.yaml") as batch:
        _, said = batch.communicate(timeout=LIMIT)
    assert batch.returncode != 0
    assert "set it to postgresql://USER@HOST/DATABASE, without a password" in said
    assert not Path("resnet-lab").exists()


def test_torchrun_starts_one_command_a_machine_with_a_worker_for_each_gpu() -> None:
    stand_in("torchrun", "sys.exit(subprocess.call(sys.argv[sys.argv.index('--no-python') + 1:]))")
    stand_in("resnet-lab", "sys.exit(1)")
    settings = {"RESNET_LAB_STORAGE": STORAGE, "GPUS": "0,2,5", "MACHINES": "3", "HEAD": "one"}
    with start("torchrun.sh", "sweeps/search_lr.yaml", **settings) as batch:
        said, _ = batch.communicate(timeout=LIMIT)
    assert (batch.returncode, said) == (0, "the sweep ended with 1\n")
    assert told("torchrun").startswith("--nnodes 3 --nproc-per-node 1 ")
    assert "--rdzv-endpoint one:29400" in told("torchrun")
    place = Path.cwd() / "runs"
    assert told("resnet-lab") == (
        f"sweep sweeps/search_lr.yaml --runs-dir {place} --workers 3 --devices 0,2,5"
    )


def test_torchrun_has_the_options_that_the_script_gives_it() -> None:
    helped = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--help"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    ).stdout
    used = set(re.findall(r"(?<=\s)--(?:nnodes|nproc|rdzv|no-python)[\w-]*", of("torchrun.sh")))
    assert used == {
        *("--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id"),
        "--no-python",
    }
    assert not {option for option in used if option not in helped}
