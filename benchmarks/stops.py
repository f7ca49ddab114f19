"""Send signals at chosen moments to a sweep, and check how it stops.

    python benchmarks/stops.py [--moments 1,3,5,9,14] [--workers 1,2] [--signals INT,TERM]
                               [--to parent,group] [--iterations 250]
                               [--out results/reliability]

Every cell is a new `resnet-lab sweep` of four runs, an interpreter that imports torch like any
other. The signal goes to the command alone, or to all processes of its group as Ctrl-C in a
terminal does. The cell says the exit code, how many seconds the end took, how many processes were
left, and the runs' states. Then the same command finishes the study, whose files are compared byte
for byte with those of one that nothing disturbed. Prints the table and writes stops.json; exit code
1 if a command went on, ended with 0 before its study was done, or left a process or other bytes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import optuna  # noqa: F401  # these are imported before anything is forked
    import sklearn.datasets  # noqa: F401
    import torch
    from fault_commands import Command
    from fault_runs import Case, check_run, contents, runs_in, write_grid
    from report import save, table

    import resnet_lab.cli.study
    import resnet_lab.cli.sweep
    import resnet_lab.cli.train
    import resnet_lab.training.train  # noqa: F401

MARK = "RESNET_LAB_STOPS"
"""Environment variable of a cell's processes, to find those left behind."""
PATIENCE = 120.0
"""Seconds within which a command must end after the signal."""
LINGER = 3.0
"""Seconds that Python's own child processes (the resource tracker) have to end after it."""
SETTINGS = {"recipe.log_every": 100, "recipe.evaluate_every": 50, "trainer.checkpoint_steps": 0}
"""Settings that differ from the fault tally's grid of four runs: it writes rarely."""
SWEEP = ["sweep", "grid.yaml"]


@dataclass(frozen=True)
class Cell:
    """One signal and its result.

    Attributes:
        moment: seconds after the start.
        workers: of the sweep.
        signal: its name.
        to: "parent" or "group".
        code: the command's exit code; None if it had to be killed.
        seconds: from the signal to the end.
        left: processes that were still alive then.
        states: number of runs by state in run.json.
        again: exit code of the same command afterwards.
        equal: runs whose bytes are those of the undisturbed study, of four.
        problems: violated expectations.
    """

    moment: float
    workers: int
    signal: str
    to: str
    code: int | None
    seconds: float
    left: int
    states: dict[str, int]
    again: int | None
    equal: int
    problems: list[str]

    @property
    def told(self) -> str:
        """The cell's text in the table."""
        states = ", ".join(f"{count} {state}" for state, count in self.states.items()) or "no run"
        outcome = f"{self.code} in {self.seconds:.1f} s; {self.left} left; {states}"
        return f"{outcome}; then {self.again}, {self.equal} of 4 equal"


def stop(
    folder: Path, study: dict[str, Path], moment: float, workers: int, name: str, to: str
) -> Cell:
    """Start a sweep, send it a signal, wait for its end, and let the same command finish it."""
    mark = f"{os.getpid()}-{folder.name}"
    with (folder / "told.txt").open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "resnet_lab", *SWEEP, f"--workers={workers}"],
            cwd=folder,
            env={**os.environ, MARK: mark},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    done_before = process.poll() is not None
    code, seconds = _signalled(process, signal.Signals[f"SIG{name}"], to)
    left = _left_behind(mark)
    said = (folder / "told.txt").read_text(errors="replace")
    runs = runs_in(folder)
    written = {run: path for run, path in runs.items() if (path / "run.json").exists()}
    states = Counter(str(contents(path)["status"]) for path in written.values())
    complete = states["finished"] == len(study)
    case = Case()
    case.expect(not done_before, "the sweep had ended before the signal came")
    case.expect(code is not None, f"it did not end within {PATIENCE:.0f} s")
    case.expect(code != 0 or complete, "exit code 0 and the study was not done")
    case.expect(not left, f"left behind: {left}")
    case.expect("Traceback" not in said, f"it said: {said[-1000:]}")
    case.expect(set(states) <= {"finished", "interrupted"}, f"states: {dict(states)}")
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    again = Command(SWEEP, folder)
    case.expect(again.wait() == 0, f"the same command ended with {again.told}")
    case.expect(set(runs_in(folder)) == set(study), "other runs than the undisturbed study's")
    equal = 0
    for run, path in runs_in(folder).items():
        found = Case()
        check_run(found, path, study[run])
        equal += not found.problems
        case.problems += [f"{run}: {problem}" for problem in found.problems]
    return Cell(
        moment,
        workers,
        name,
        to,
        code,
        round(seconds, 2),
        len(left),
        dict(states),
        again.code,
        equal,
        case.problems,
    )


def _signalled(
    process: subprocess.Popen[bytes], number: signal.Signals, to: str
) -> tuple[int | None, float]:
    """Send the signal; return the exit code (None if it had to be killed) and the seconds."""
    began = time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(process.pid, number) if to == "parent" else os.killpg(process.pid, number)
    try:
        return process.wait(PATIENCE), time.monotonic() - began
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None, time.monotonic() - began


def _left_behind(mark: str) -> list[int]:
    """Return processes of a cell still alive some moments after its command has ended."""
    deadline = time.monotonic() + LINGER
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _marked(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def main() -> int:
    """Fill the table, print and save it."""
    given = _arguments()
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory(prefix="stops-") as place:
        settings = {**SETTINGS, "recipe.iterations": given.iterations}
        study = _undisturbed(Path(place) / "undisturbed", settings)
        for choice in itertools.product(given.moments, given.workers, given.signals, given.to):
            folder = _fresh(Path(place) / str(len(cells)), settings)
            cells.append(cell := stop(folder, study, *choice))
            line = f"{cell.moment:g} s, {cell.workers} workers, {cell.signal} to the {cell.to}"
            print("\n  ".join([f"{line}: {cell.told}", *cell.problems]), flush=True)
    print("\n" + cells_table(cells))
    bad = [cell for cell in cells if cell.problems]
    print(f"\n{len(cells) - len(bad)} of {len(cells)} as asked")
    contents = {"cells": [asdict(cell) for cell in cells], "as_asked": len(cells) - len(bad)}
    save("stops", contents, given.out, torch.device("cpu"))
    return int(bool(bad))


def cells_table(cells: list[Cell]) -> str:
    """Return a table: a row per moment and number of workers, a column per signal and receiver."""
    columns = list(dict.fromkeys((cell.signal, cell.to) for cell in cells))
    rows = dict.fromkeys((cell.moment, cell.workers) for cell in cells)
    told = {(cell.moment, cell.workers, cell.signal, cell.to): cell.told for cell in cells}
    titles = ["seconds", "workers", *(f"{name} to the {to}" for name, to in columns)]
    lines = [[*row, *(told.get((*row, *column), "") for column in columns)] for row in rows]
    return table(titles, lines)


def _undisturbed(folder: Path, settings: dict[str, Any]) -> dict[str, Path]:
    command = Command(SWEEP, _fresh(folder, settings))
    if command.wait() != 0:
        raise RuntimeError(f"the undisturbed study failed: {command.told}")
    return runs_in(folder)


def _fresh(folder: Path, settings: dict[str, Any]) -> Path:
    folder.mkdir()
    write_grid(folder, **settings)
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=_numbers, default=[1.0, 3.0, 5.0, 9.0, 14.0])
    parser.add_argument("--workers", type=_counts, default=[1, 2])
    parser.add_argument("--signals", type=_words, default=["INT", "TERM"])
    parser.add_argument("--to", type=_words, default=["parent", "group"])
    parser.add_argument("--iterations", type=int, default=250, help="of each of the four runs")
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    return parser.parse_args()


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
