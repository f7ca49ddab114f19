"""SIGKILL at random moments: in a run, in a sweep, and in a run of two processes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from fault_commands import Command, fork_workers
from fault_runs import (
    PLAIN,
    STEPS,
    SWEEP,
    TRAIN,
    Case,
    Ground,
    Saved,
    Tally,
    check_run,
    check_study,
    clean,
    go_on,
    runs_in,
    the_run,
    write_grid,
)

from resnet_lab.runs.owner import Owner

LATE = 1.1
"""Moments are drawn from this share of the undisturbed time; too late ones are redrawn."""
SECONDS_TO_DIE = 10.0


def kill_runs(ground: Ground, times: int) -> Tally:
    """Kill a run at a random moment, then resume it by the same command."""
    tally, reference = Tally(), ground.reference
    while tally.injected < times:
        folder, moment = ground.fresh(), ground.random.uniform(0, LATE * ground.seconds("train"))
        command = Command(TRAIN, folder)
        time.sleep(moment)
        if command.kill():
            case, run = Case(), the_run(folder)
            go_on(case, folder, reference, Saved.of(run))
            tally.add(case, f"killed after {moment:.3f} s")
        clean(folder)
    return tally


def kill_sweeps(ground: Ground, times: int) -> Tally:
    """Kill a whole sweep, one of its two workers, or the command alone, in turn."""
    tally, study = Tally(), ground.study
    victims = ("everything", "a worker", "the command")
    while tally.injected < times:
        folder, moment = ground.fresh(), ground.random.uniform(0, LATE * ground.seconds("sweep"))
        victim = victims[tally.injected % len(victims)]
        command = Command([*SWEEP, "--workers=2"], folder, fork_workers)
        time.sleep(moment)
        killed = _kill(victim, command, folder)
        if killed is not None:
            case = Case()
            saved = {name: Saved.of(run, name in killed) for name, run in runs_in(folder).items()}
            if victim != "a worker":
                command = Command([*SWEEP, "--workers=2"], folder, fork_workers)
            case.expect(command.wait() == 0, f"the same command ended with {command.told}")
            check_study(case, folder, study, saved)
            tally.add(case, f"{victim} killed after {moment:.3f} s")
        command.kill()
        clean(folder)
    return tally


def _kill(victim: str, command: Command, folder: Path) -> set[str] | None:
    """Kill the victim; return the runs whose processes were killed, or None if too late."""
    if command.ended():
        return None
    if victim == "everything":
        return set(runs_in(folder)) if command.kill() else None
    if victim == "the command":
        os.kill(command.pid, signal.SIGKILL)
        return set() if command.wait() == -signal.SIGKILL else None
    for run, owner in _owners(folder).items():
        with suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGKILL)
            return {run}
    return None


def _owners(folder: Path) -> dict[str, Owner]:
    """Return the owner process of each run in training."""
    found = {}
    for lock in folder.glob("runs/*/*/.lock-*"):
        with suppress(OSError, ValueError, IndexError):
            found[lock.parent.name] = Owner.parse(lock.read_text().splitlines()[0])
    return found


def kill_groups(ground: Ground, times: int) -> Tally:
    """Kill a worker whose run is trained by two child processes, which must die with it."""
    tally, settings = Tally(), {"trainer.devices": 2, "network": PLAIN, "seed": 0}

    def begin(folder: Path) -> Command:
        folder.mkdir(exist_ok=True)
        write_grid(folder, **settings)
        return Command(SWEEP, folder)

    undisturbed = begin(ground.folder / "group")
    if undisturbed.wait() != 0:
        raise RuntimeError(f"the undisturbed command failed: {undisturbed.told}")
    [reference] = runs_in(ground.folder / "group").values()
    while tally.injected < times:
        folder, wanted = ground.fresh(), ground.random.randrange(3, STEPS // 2, 3)
        command = begin(folder)
        command.wait(met=lambda folder=folder, wanted=wanted: _saved(folder) >= wanted)
        owners = list(_owners(folder).values())
        if owners and not command.ended():
            case = Case()
            os.kill(command.pid, signal.SIGKILL)
            command.wait()
            deadline = time.monotonic() + SECONDS_TO_DIE
            while not all(owner.is_dead() for owner in owners) and time.monotonic() < deadline:
                time.sleep(0.05)
            case.expect(all(owner.is_dead() for owner in owners), "orphans train on")
            [run] = runs_in(folder).values()
            saved, again = Saved.of(run), begin(folder)
            case.expect(again.wait() == 0, f"the same command ended with {again.told}")
            check_run(case, run, reference, saved)
            tally.add(case, f"its worker killed at step {wanted}")
        clean(folder)
    return tally


def _saved(folder: Path) -> int:
    """Return the step of the newest checkpoint of any run."""
    found = folder.glob("runs/study/*/checkpoints/step-*.ckpt")
    return max((int(path.stem[5:]) for path in found), default=0)
