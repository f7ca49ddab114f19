"""Damaged files of every kind that the project reads: truncated, missing, or one bit flipped."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_commands import Command, elsewhere
from fault_runs import (
    PLAIN,
    SWEEP,
    TRAIN,
    Case,
    Ground,
    Tally,
    check_run,
    check_study,
    check_told,
    clean,
    contents,
    go_on,
    the_run,
)
from fault_trainings import at_step

CIFAR = "cifar-10-batches-bin"
STOPPED_AT = 26


def damage(ground: Ground, times: int) -> Tally:
    """Damage each kind of file in every way; a command must notice, or be unaffected."""
    tally = Tally()
    begun = the_run(_interrupted(ground))
    kinds: dict[str, Callable[[Case, Path, Callable[[Path], None]], None]] = {}
    for file in ("config.yaml", "run.json", "metrics.parquet", "layers.parquet"):
        kinds[f"{file} of an interrupted run"] = _Continued(ground, begun, file)
        kinds[f"{file} of a finished run"] = _Finished(ground, file)
    kinds["newest checkpoint"] = _Continued(ground, begun, "checkpoints/*", 1)
    kinds["both checkpoints"] = _Continued(ground, begun, "checkpoints/*", 2)
    kinds["lock of a dead process"] = _Continued(ground, begun, ".lock-*")
    kinds["weights"] = _Weights(ground)
    kinds["study.journal"] = _Journal(ground)
    if (Path(os.environ.get("RESNET_LAB_DATA", "")) / CIFAR).is_dir():
        kinds["CIFAR-10"] = _Data(ground)
    else:
        tally.notes["CIFAR-10"] = "left out: RESNET_LAB_DATA names no folder that holds it"
    for kind, act in kinds.items():
        for number in range(len(WAYS) * times):
            way, folder = WAYS[number % len(WAYS)], ground.fresh()
            said: list[str] = []

            def spoil(path: Path, way: Any = way, said: list[str] = said) -> None:
                said.append(way(path, ground))

            case = Case()
            act(case, folder, spoil)
            tally.add(case, f"{kind}: {', '.join(said)}")
            clean(folder)
    return tally


def _cut(path: Path, ground: Ground) -> str:
    size = ground.random.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut off after {size} bytes"


def _flip(path: Path, ground: Ground) -> str:
    content = bytearray(path.read_bytes())
    place, bit = ground.random.randrange(len(content)), ground.random.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place}"


def _lose(path: Path, _: Ground) -> str:
    path.unlink()
    return "missing"


WAYS = (_cut, _flip, _lose)


def _interrupted(ground: Ground) -> Path:
    """Return a run stopped half-way: two checkpoints, and the lock of a dead process."""

    def die(cohort: Any, member: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    folder = ground.fresh()
    Command(TRAIN, folder, lambda: at_step(STOPPED_AT, die)).wait()
    return folder


class _Continued:
    """A file of an interrupted run: the run resumes to the same end, or says what to do."""

    def __init__(self, ground: Ground, begun: Path, pattern: str, most: int = 1) -> None:
        self._ground, self._begun, self._pattern, self._most = ground, begun, pattern, most

    def __call__(self, case: Case, folder: Path, spoil: Callable[[Path], None]) -> None:
        run = folder / "runs" / self._begun.name
        shutil.copytree(self._begun, run)
        whole = {path: path.read_bytes() for path in sorted(run.glob(self._pattern))[-self._most :]}
        for path in whole:
            spoil(path)
        command = Command(TRAIN, folder, _impatient)
        if command.wait() == 0:
            case.expect("Traceback" not in command.told, command.told)
        else:
            check_told(case, command, next(iter(whole)).name)
            for path, content in whole.items():
                path.write_bytes(content)
        go_on(case, folder, self._ground.reference)


def _impatient() -> None:
    """In a command: wait a shorter time for a heartbeat behind an unreadable lock."""
    from resnet_lab.runs import lock

    lock.SILENCE = 0.5


class _Finished:
    """A file of a finished run: readers name it or read what it held; `train` loses nothing."""

    def __init__(self, ground: Ground, file: str) -> None:
        self._ground, self._file = ground, file

    def __call__(self, case: Case, folder: Path, spoil: Callable[[Path], None]) -> None:
        reference = self._ground.reference
        run = folder / "runs" / reference.name
        shutil.copytree(reference, run)
        whole = (run / self._file).read_bytes()
        spoil(run / self._file)
        seen, sound = elsewhere(lambda: _frames(run)), elsewhere(lambda: _frames(reference))
        case.expect(seen["skipped"] or seen == sound, "readers take it for whole")
        command = Command(TRAIN, folder)
        if command.wait() != 0:
            check_told(case, command, self._file)
        if command.code != 0 or contents(run) == contents(reference):
            (run / self._file).write_bytes(whole)  # the remedy: restore that file
        check_run(case, run, reference)


def _frames(run: Path) -> dict[str, Any]:
    from resnet_lab.errors import UserError
    from resnet_lab.runs.frames import load_runs

    try:
        frames = load_runs(run)
    except UserError as error:
        return {"skipped": [str(error)]}
    tables = (frames.runs.drop(columns="path"), frames.metrics, frames.layers)
    return {
        "skipped": [f"{path}: {why}" for path, why in frames.skipped],
        "tables": [table.to_json() for table in tables],
    }


class _Weights:
    """Weights of a finished run: `evaluate` refuses the file, or returns the same result."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._sound = self._evaluate(ground.reference, ground.folder).told

    @staticmethod
    def _evaluate(run: Path, folder: Path) -> Command:
        file = str(run / f"weights/{PLAIN}.pt")
        given = [f"--network={PLAIN}", "--data=digits", "--device=cpu"]
        command = Command(["evaluate", file, *given], folder)
        command.wait()
        return command

    def __call__(self, case: Case, folder: Path, spoil: Callable[[Path], None]) -> None:
        run = folder / "runs" / self._ground.reference.name
        shutil.copytree(self._ground.reference, run)
        spoil(run / f"weights/{PLAIN}.pt")
        command = self._evaluate(run, folder)
        if command.code == 0:
            case.expect(command.told == self._sound, f"another measurement: {command.told}")
        else:
            check_told(case, command, f"{PLAIN}.pt")


class _Journal:
    """The journal of a half-finished study: it resumes, or asks to move the journal away."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._begun = ground.fresh()
        if Command([*SWEEP, "--count=2"], self._begun).wait() != 0:
            raise RuntimeError("the undisturbed command failed")

    def __call__(self, case: Case, folder: Path, spoil: Callable[[Path], None]) -> None:
        shutil.copytree(self._begun, folder, dirs_exist_ok=True)
        journal = folder / "runs/study/study.journal"
        spoil(journal)
        command = Command(SWEEP, folder)
        if command.wait() != 0:
            check_told(case, command, journal.name)
            journal.unlink()
            again = Command(SWEEP, folder)
            case.expect(again.wait() == 0, f"without the journal: {again.told}")
        check_study(case, folder, self._ground.study, {}, altered=1)


class _Data:
    """A file of CIFAR-10: nothing may train on it once damaged."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def __call__(self, case: Case, folder: Path, spoil: Callable[[Path], None]) -> None:
        source = Path(os.environ["RESNET_LAB_DATA"]) / CIFAR
        (folder / "data" / CIFAR).mkdir(parents=True)
        files = sorted(source.glob("*.bin"))
        chosen = self._ground.random.choice(files)
        for file in files:
            (folder / "data" / CIFAR / file.name).symlink_to(file.resolve())
        copy = folder / "data" / CIFAR / chosen.name
        copy.unlink()
        shutil.copyfile(chosen, copy)
        spoil(copy)
        command = Command([*TRAIN, "--data.name=cifar10", "--data-dir=data"], folder)
        command.wait()
        check_told(case, command, chosen.name, codes=(2,))
        case.expect(not list(folder.glob("runs/*")), "something was trained")
