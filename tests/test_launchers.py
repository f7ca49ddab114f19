"""What launchers leave in the environment decides nothing; what they have started works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import PLAIN, ROOT, assert_same_weights, info, tiny, weights

from resnet_lab.cli import main
from resnet_lab.configuration.config import TrainerConfig
from resnet_lab.errors import UserError
from resnet_lab.rank import is_first_process
from resnet_lab.training.launchers import PEERS, launched
from resnet_lab.training.train import train

SRUN = "SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_LOCALID=1"
TORCHRUN = "TORCHELASTIC_RUN_ID=x WORLD_SIZE=2 RANK=1 LOCAL_RANK=1 GROUP_RANK=0"
SHORT = "--recipe.iterations=3 --recipe.batch_size=16 --trainer.device=cpu"


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PEERS:
        monkeypatch.delenv(name, raising=False)


def leave(monkeypatch: pytest.MonkeyPatch, variables: str) -> dict[str, str]:
    """Set variables as a launcher does; return the whole environment."""
    for pair in variables.split():
        monkeypatch.setenv(*pair.split("=", 1))
    return dict(os.environ)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("runs"), network=PLAIN, iterations=3))


@pytest.mark.parametrize(
    "variables",
    [
        "SLURM_NTASKS=4 SLURM_JOB_ID=7",
        "SLURM_NTASKS=4 SLURM_JOB_ID=7 SLURM_PROCID=3 SLURM_LOCALID=3 SLURM_STEP_ID=0",
        "RANK=1",
        "RANK=none LOCAL_RANK=none SLURM_PROCID=none SLURM_NTASKS=none",
        f"{TORCHRUN} MASTER_ADDR=nowhere.invalid MASTER_PORT=1",
        "LOCAL_RANK=1 NODE_RANK=1 WORLD_SIZE=2",
        "LSB_JOBID=1 LSB_DJOB_RANKFILE=/none JSM_NAMESPACE_LOCAL_RANK=1 JSM_NAMESPACE_SIZE=2",
        "OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=2 PMI_RANK=2",
        "PL_TRAINER_FAST_DEV_RUN=1 PL_TRAINER_MAX_TIME=00:00:00:00 PL_TRAINER_PRECISION=16",
        "PL_TRAINER_GRADIENT_CLIP_VAL=0.001 PL_TRAINER_ACCUMULATE_GRAD_BATCHES=2",
    ],
)
def test_what_a_launcher_has_left_changes_nothing_of_a_run_of_one_process(
    monkeypatch: pytest.MonkeyPatch, alone: Path, variables: str
) -> None:
    before = leave(monkeypatch, variables)
    run = train(tiny(network=PLAIN, iterations=3))
    assert (info(run)["status"], info(run)["step"]) == ("finished", 3)
    assert_same_weights(weights(run, PLAIN), weights(alone, PLAIN))
    after = dict(os.environ)
    assert {name: after.get(name) for name in before} == before
    assert not set(PEERS) & (set(after) - set(before))


def test_the_command_writes_a_whole_run_and_names_the_variable_that_speaks_of_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(monkeypatch, f"{TORCHRUN} SLURM_NTASKS=4")
    assert main(["train", f"--network={PLAIN}", *SHORT.split()]) == 0
    told = capsys.readouterr()
    assert told.err == (
        "resnet-lab: WORLD_SIZE is 2, but trainer.devices and trainer.nodes are 1: this process "
        "trains alone\n"
    )
    [run] = Path("runs").iterdir()
    assert told.out.splitlines()[-1] == str(run)
    assert info(run)["status"] == "finished"


@pytest.mark.parametrize(
    ("variables", "seen"),
    [
        (TORCHRUN, {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}),
        (f"{TORCHRUN} SLURM_PROCID=0 SLURM_NTASKS=1", {"RANK": "1", "SLURM_PROCID": None}),
        (f"{SRUN} SLURM_NODEID=0 RANK=0", {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "RANK": None}),
        ("LOCAL_RANK=1 WORLD_SIZE=2 NODE_RANK=0", {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}),
    ],
    ids=["torchrun", "torchrun in SLURM", "srun", "Lightning"],
)
def test_a_launch_that_fits_is_heeded(
    monkeypatch: pytest.MonkeyPatch, variables: str, seen: dict[str, str | None]
) -> None:
    leave(monkeypatch, variables)
    with launched(TrainerConfig(devices=2)):
        assert {name: os.environ.get(name) for name in seen} == seen
        assert not is_first_process()


@pytest.mark.parametrize(
    "variables",
    [
        "RANK=1 NODE_RANK=2 MASTER_ADDR=nowhere.invalid MASTER_PORT=1",
        "SLURM_NTASKS=4 SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0",
        f"{SRUN} SLURM_NTASKS=8 SLURM_JOB_NAME=interactive",
    ],
)
def test_where_nothing_has_started_others_lightning_does(
    monkeypatch: pytest.MonkeyPatch, variables: str
) -> None:
    leave(monkeypatch, variables)
    with launched(TrainerConfig(devices=2)):
        assert not set(PEERS) & set(os.environ)
        assert is_first_process()


@pytest.mark.parametrize(
    ("variables", "nodes", "message"),
    [
        (f"{TORCHRUN} WORLD_SIZE=4", 1, "WORLD_SIZE, which torchrun sets, is '4'"),
        (f"{TORCHRUN} RANK=", 1, "RANK, which torchrun sets, is ''"),
        (f"{SRUN} SLURM_NODEID=0 SLURM_NTASKS=4", 1, "SLURM_NTASKS, which srun sets, is '4'"),
        (SRUN, 1, "SLURM_NODEID, which srun sets, is not there"),
        ("LOCAL_RANK=1", 1, "WORLD_SIZE, which a launcher sets, is not there.*unset LOCAL_RANK"),
        ("SLURM_NTASKS=4", 2, "trainer.nodes is 2, and nothing has started a process on each"),
    ],
)
def test_a_launch_that_does_not_fit_is_named_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, variables: str, nodes: int, message: str
) -> None:
    leave(monkeypatch, variables)
    config = tiny(network=PLAIN, trainer={"devices": 2, "nodes": nodes})
    with pytest.raises(UserError, match=message):
        train(config)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_torchrun_trains_one_run_whatever_slurm_says() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--no-python"]
    command = [sys.executable, "-m", "resnet_lab", "train", f"--network={PLAIN}", *SHORT.split()]
    variables = {"OMP_NUM_THREADS": "1", "SLURM_PROCID": "5", "SLURM_NTASKS": "7"}
    subprocess.run(
        [*torchrun, *command, "--trainer.devices=2"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        check=True,
    )
    [run] = Path("runs").iterdir()
    assert (info(run)["status"], info(run)["provenance"]["processes"]) == ("finished", 2)
