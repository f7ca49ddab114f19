"""Multi-process runs of a sweep: a worker starts one process for each rank.

The processes get torchrun's variables but are started without it: torchrun would hide the worker's
death, kill a process that still writes its checkpoint after 30 seconds, and take seconds to
import. Rank 0 reports to the study and tells the others when to stop. The processes end with their
worker, even if it is killed, so that its run can be taken over.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunHeld, UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.training.interruption import Interruption
from resnet_lab.yaml_json import dump_yaml

if TYPE_CHECKING:
    from optuna import Trial

    from resnet_lab.sweeps.job import Job

MISTAKE = "resnet-lab: "
"""Prefix of a UserError's message, which is the last line that a process prints."""
HELD = 3
"""Exit code of a process whose run is locked by another one."""
VARIABLE = "RESNET_LAB_TRIAL"
"""Environment variable that tells rank 0 where to report. It is no flag, as a storage's URL may
hold a password and command lines are public."""


def train_in_ranks(job: Job, config: Config, trial: Trial) -> Path:
    """Train a run in several processes and return its run directory.

    Raises:
        RunHeld: another process trains it.
        UserError: it needs more than one machine, or a process raised one.
        RuntimeError: the processes failed; the message ends with their last output.
        KeyboardInterrupt: they were stopped before all of them had begun.
    """
    if config.trainer.nodes > 1:
        raise UserError(
            f"trainer.nodes is {config.trainer.nodes}: a sweep trains each run on one machine; "
            "start runs over several with torchrun or SLURM (see docs/cluster.md)"
        )
    halving = job.sweep.early_terminate
    told = {
        "worker": os.getpid(),
        "storage": job.storage,
        "folder": str(job.folder),
        "study": trial.study.study_name,
        "trial": trial.number,
        "metric": job.sweep.metric.name,
        "halving": vars(halving) if halving else None,
    }
    count = config.trainer.processes_here
    group = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        **os.environ,
        VARIABLE: json.dumps(told),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(dump_yaml(config.as_dict()), encoding="utf-8")
        ranks = [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
        _run([sys.executable, "-m", "resnet_lab.cli.trial", str(file)], ranks)
    return RunDirectory.of(config).path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _run(command: Sequence[str], ranks: Sequence[dict[str, str]]) -> None:
    """Run a command once in each of these environments, and raise the errors of its processes."""
    processes: list[subprocess.Popen[bytes]] = []
    with Interruption() as interruption, tempfile.TemporaryFile("w+") as words:
        try:
            for environment in ranks:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdout=words,
                    stderr=words,
                    start_new_session=True,  # Ctrl-C comes through this process, once
                )
                processes.append(process)
            _wait(processes, interruption)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        words.seek(0)
        said = words.read().strip()
    codes = [process.returncode for process in processes]
    if any(codes) and interruption.requested:
        raise KeyboardInterrupt
    for code, error in ((HELD, RunHeld), (2, UserError)):
        if code in codes and MISTAKE in said:
            raise error(said.rsplit(MISTAKE, 1)[1].splitlines()[0])
    if any(codes):
        raise RuntimeError(f"its processes ended with codes {codes}: {said[-2000:]}")


def _wait(processes: Sequence[subprocess.Popen[bytes]], interruption: Interruption) -> None:
    """Wait until all have ended or one has failed; forward signals that stop this process."""
    asked = False
    while any(process.poll() is None for process in processes):
        if any(process.returncode for process in processes):
            return
        if interruption.requested and not asked:
            asked = True
            for process in processes:
                process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
