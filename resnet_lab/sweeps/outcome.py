"""Outcome of a sweep, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_lab.sweeps.metric import is_lost
from resnet_lab.sweeps.queue import DEATHS, ERROR, RUN, Queue


@dataclass(frozen=True)
class Outcome:
    """Outcome of a sweep.

    Attributes:
        slots: number of runs in the study.
        finished: number of runs trained to the end.
        stopped: number of runs that the sweep ended early.
        failed: (name, error) of runs whose last attempt raised, or lost its worker.
        interrupted: whether this command was stopped before it was done.
        diverged: number of runs with a network that diverged.
        elsewhere: number of runs that other commands train now.
        enough: whether --count runs have ended, or the target is reached.
        missing: number of ended runs that are not in this runs directory.
    """

    slots: int
    finished: int
    stopped: int
    failed: tuple[tuple[str, str], ...]
    interrupted: bool = False
    diverged: int = 0
    elsewhere: int = 0
    enough: bool = False
    missing: int = 0

    @property
    def left(self) -> int:
        """Number of runs that have neither ended nor failed and are not being trained."""
        known = self.finished + self.stopped + len(self.failed) + self.elsewhere
        return self.slots - known - self.missing

    @property
    def complete(self) -> bool:
        """Whether every run has ended."""
        return self.finished + self.stopped == self.slots

    @property
    def exit_code(self) -> int:
        """0 if all that was asked for is done."""
        left = self.left > 0 and not self.enough
        return int(bool(self.failed) or self.interrupted or self.missing > 0 or left)


def outcome(queue: Queue, keys: Sequence[str]) -> Outcome:
    """Read the states of a study's slots."""
    attempts = queue.attempts()
    last = [attempts[key] for key in keys if key in attempts]
    states = [trial.state.name for trial in last]
    failed = []
    for trial in last:
        if trial.state.name == "FAIL":
            known = trial.user_attrs
            died = f"its worker died, {known.get(DEATHS, 0) + 1} times"
            name = str(known.get(RUN, f"trial {trial.number}"))
            failed.append((name, str(known.get(ERROR, died))))
    return Outcome(
        slots=len(keys),
        finished=states.count("COMPLETE"),
        stopped=states.count("PRUNED"),
        elsewhere=states.count("RUNNING"),
        failed=tuple(failed),
        diverged=sum(map(is_lost, last)),
    )


def print_outcome(result: Outcome) -> None:
    """Print a sweep's outcome and its failures."""
    early = f", {result.stopped} of them stopped early" if result.stopped else ""
    lost = f"; in {result.diverged} of them a network diverged" if result.diverged else ""
    print(f"{result.finished + result.stopped} of {result.slots} runs finished{early}{lost}")
    for name, error in result.failed:
        print(f"failed: {name}: {error}")
    if result.interrupted:
        print("interrupted: the same command continues")
    elif result.left and not result.enough:
        print(f"{result.left} runs are left: the same command continues")
    if result.elsewhere:
        print(f"{result.elsewhere} runs are being trained by other commands")
