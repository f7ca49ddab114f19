"""Disks that become full while a file is written, and read-only folders."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fault_commands import INJECTED, Command, say_injected
from fault_runs import (
    SWEEP,
    TRAIN,
    Case,
    Ground,
    Saved,
    Tally,
    check_study,
    check_told,
    clean,
    contents,
    go_on,
    runs_in,
    the_run,
)

FILES = {
    "config.yaml": (1, 800),
    "run.json": (8, 2_000),
    "metrics.parquet": (8, 2_000),
    "layers.parquet": (8, 6_000),
    "checkpoint": (7, 50_000),
    "weights": (2, 20_000),
    "lock": (1, 50),
    "study.journal": (20, 300),
    "report": (10, 20_000),
}
"""Each kind of file that is written: on which occasions, at most, and within how many bytes the
room ends."""
PATTERNS = {
    "checkpoint": r"step-\d+\.ckpt",
    "weights": r"\.pt(\.|$)",
    "lock": r"\.lock-\d",
    "report": r"\.(html|png|svg|csv|md|tex)(\.|$)",
}
CAPABILITIES_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1 << 1
"""Of the kernel's headers."""


def full_disks(ground: Ground, times: int, files: Sequence[str] = tuple(FILES)) -> Tally:
    """Let the disk become full while each kind of file is written, then free it and resume.

    The kernel limits the size of a process's files from the n-th time on that a file of the kind is
    opened for writing: a write fails half-way, as on a full disk.
    """
    tally = Tally()
    for file in files:
        missed = 0
        before = tally.injected
        while tally.injected < before + times and missed < 20 * times:
            if not _fill(ground, tally, file):
                missed += 1
        tally.notes[file] = tally.injected - before
    return tally


def _fill(ground: Ground, tally: Tally, file: str) -> bool:
    """Inject one fault; return False if the file was opened fewer times."""
    folder, (occasions, size) = ground.fresh(), FILES[file]
    occasion, room = ground.random.randint(1, occasions), ground.random.randrange(size)
    pattern = PATTERNS.get(file, re.escape(file))
    arguments = {"study.journal": SWEEP, "report": _report(ground)}.get(file, TRAIN)
    command = Command(arguments, folder, lambda: _end_room(pattern, occasion, room))
    command.wait()
    if INJECTED not in command.told:
        clean(folder)
        return False
    case = Case()
    if command.code != 0:
        check_told(case, command)
    if file == "study.journal":
        saved = {name: Saved.of(run) for name, run in runs_in(folder).items()}
        again = Command(SWEEP, folder)
        case.expect(again.wait() == 0, f"the same command ended with {again.told}")
        check_study(case, folder, ground.study, saved)
    elif file == "report":
        again = Command(arguments, folder)
        case.expect(again.wait() == 0, f"the same command ended with {again.told}")
        case.expect(_whole_report(folder), "the report is not whole")
    else:
        _check_status(case, command, the_run(folder))
        go_on(case, folder, ground.reference, Saved.of(the_run(folder)))
    tally.add(case, f"{file}, opened for the {occasion}. time, {room} bytes left")
    clean(folder)
    return True


def _report(ground: Ground) -> list[str]:
    return ["report", str(ground.reference.parent), "--out=report"]


def _whole_report(folder: Path) -> bool:
    page = folder / "report/index.html"
    return page.exists() and page.read_text().rstrip().endswith("</html>")


def _check_status(case: Case, command: Command, run: Path) -> None:
    """Check that a run that failed does not say that it is finished."""
    if command.code != 0 and (run / "run.json").exists():
        status = contents(run)["status"]
        case.expect(status != "finished", "run.json says finished")


def _end_room(pattern: str, occasion: int, room: int) -> None:
    """In a command: limit files to `room` more bytes from an occasion on."""
    wanted, seen = re.compile(pattern), [0]

    def hook(event: str, arguments: Any) -> None:
        if event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        path, flags = os.fspath(arguments[0]), int(arguments[2] or 0)
        if not flags & (os.O_WRONLY | os.O_RDWR) or not wanted.search(os.path.basename(str(path))):
            return
        seen[0] += 1
        if seen[0] == occasion:
            size = 0
            with suppress(OSError):
                size = os.stat(path).st_size
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
            say_injected()

    sys.addaudithook(hook)


# Read-only


def read_only(ground: Ground, times: int) -> Tally:
    """Make a runs directory read-only from the start, or from a checkpoint on."""
    tally = Tally()
    for number in range(2 * times):
        folder = ground.fresh()
        runs = folder / "runs"
        runs.mkdir()
        case = Case()
        if number % 2:
            what = _close_before(case, folder, runs)
        else:
            wanted = ground.random.randrange(3, 18, 3)
            what = _close_within(case, folder, wanted)
        case.expect(not what or not _finished(folder), "run.json says finished")
        _open(folder)
        go_on(case, folder, ground.reference, Saved.of(the_run(folder)))
        if what:
            tally.add(case, what)
        clean(folder)
    return tally


def _close_before(case: Case, folder: Path, runs: Path) -> str:
    runs.chmod(0o555)
    command = Command(TRAIN, folder, _bound_by_permissions)
    command.wait()
    check_told(case, command, "cannot write the run directory runs/", codes=(2,))
    return "read-only from the beginning"


def _close_within(case: Case, folder: Path, wanted: int) -> str:
    """Make a run's folders read-only at a checkpoint; return "" if the run was too fast."""
    command = Command(TRAIN, folder, _bound_by_permissions)

    def is_there() -> bool:
        return bool(list(folder.glob(f"runs/*/checkpoints/step-{wanted:09d}.ckpt")))

    command.wait(met=is_there)
    for path in _folders(folder):
        path.chmod(0o555)
    command.wait()
    if command.code == 0:
        return ""
    check_told(case, command, codes=(1,))
    return f"read-only from step {wanted} on"


def _finished(folder: Path) -> bool:
    file = the_run(folder) / "run.json"
    return file.exists() and contents(file.parent)["status"] == "finished"


def _folders(folder: Path) -> list[Path]:
    runs = folder / "runs"
    return [runs, *(path for path in runs.rglob("*") if path.is_dir())]


def _open(folder: Path) -> None:
    for path in _folders(folder):
        path.chmod(0o755)


def _bound_by_permissions() -> None:
    """In a command: give up root's right to bypass file permissions (Linux)."""
    if os.geteuid() != 0:
        return
    kernel = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()
    if kernel.capget(header, held) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    held[0] &= ~CAP_DAC_OVERRIDE
    if kernel.capset(header, held) != 0:
        raise OSError(ctypes.get_errno(), "capset")
