"""Runs whose networks several processes train together, started by a worker of a sweep.

They are new processes, ranked as torchrun would: Lightning starts its own by repeating the command
line, and a worker's command line is the sweep's. The first reports to the study; all obey. They end
with their worker, even with one that is killed, so that its run can be taken over.
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

    from resnet_lab.sweeps.work import Work

MISTAKE = "resnet-lab: "
"""Comes before the message of a user's mistake, the last thing that a process says then."""
HELD = 3
"""Exit code of a process whose run another one trains."""
VARIABLE = "RESNET_LAB_TRIAL"
"""Tells the first process where to report; in the environment, as a storage's URL may hold a
password and command lines are seen by everybody."""


def train_in_group(work: Work, config: Config, trial: Trial) -> Path:
    """Train a run in processes of its own and return its run directory.

    Raises:
        RunHeld: another process trains it.
        UserError: it needs more than one machine, or its processes say so.
        RuntimeError: the processes failed; the message ends with their last words.
        KeyboardInterrupt: they were stopped before all of them had begun.
    """
    if config.trainer.nodes > 1:
        raise UserError(
            f"trainer.nodes is {config.trainer.nodes}: a sweep trains each run on one machine; "
            "start runs over several with torchrun or SLURM (see docs/cluster.md)"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(dump_yaml(config.as_dict()), encoding="utf-8")
        _start_and_wait(file, config.trainer.processes_here, _environment(work, trial))
    return RunDirectory.of(config).path


def _environment(work: Work, trial: Trial) -> dict[str, str]:
    sweep = work.sweep
    told = {
        "worker": os.getpid(),
        "storage": work.storage,
        "folder": str(work.folder),
        "heartbeat": work.heartbeat,
        "study": trial.study.study_name,
        "trial": trial._trial_id,
        "metric": sweep.metric.name,
        "halving": vars(sweep.early_terminate) if sweep.early_terminate else None,
    }
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    return {"OMP_NUM_THREADS": threads, **os.environ, VARIABLE: json.dumps(told)}


def _start_and_wait(file: Path, processes: int, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "resnet_lab.cli.trial", str(file)]
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    group: list[subprocess.Popen[bytes]] = []
    with Interruption() as interruption, tempfile.TemporaryFile("w+") as words:
        try:
            for number in range(processes):
                process = subprocess.Popen(
                    command,
                    env={**environment, **places, **_rank(number, processes)},
                    stdout=words,
                    stderr=words,
                    start_new_session=True,  # Ctrl-C comes through this process, once
                )
                group.append(process)
            _wait(group, interruption)
        finally:
            for process in group:
                process.kill()
                process.wait()
        words.seek(0)
        said = words.read().strip()
    codes = [process.returncode for process in group]
    if any(codes) and interruption.requested:
        raise KeyboardInterrupt
    for code, error in ((HELD, RunHeld), (2, UserError)):
        if code in codes and MISTAKE in said:
            raise error(said.rsplit(MISTAKE, 1)[1].splitlines()[0])
    if any(codes):
        raise RuntimeError(f"its processes ended with codes {codes}: {said[-2000:]}")


def _rank(number: int, processes: int) -> dict[str, str]:
    ranks = dict.fromkeys(("RANK", "LOCAL_RANK"), str(number))
    return {**ranks, "WORLD_SIZE": str(processes), "NODE_RANK": "0"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(group: Sequence[subprocess.Popen[bytes]], interruption: Interruption) -> None:
    """Wait until all have ended, or one has failed; hand on what asks this process to stop."""
    asked = False
    while any(process.poll() is None for process in group):
        if any(process.returncode for process in group):
            return
        if interruption.requested and not asked:
            asked = True
            for process in group:
                process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
