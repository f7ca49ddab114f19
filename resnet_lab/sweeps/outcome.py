"""How a sweep stands at its end, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_lab.sweeps.metric import is_lost
from resnet_lab.sweeps.queue import DEATHS, ERROR, RUN, Queue


@dataclass(frozen=True)
class Outcome:
    """How a sweep stands.

    Attributes:
        slots: how many runs make the study.
        finished: of them, trained to the end.
        stopped: of them, ended early by the sweep.
        failed: (name, error) of those whose last attempt raised, or lost its worker.
        interrupted: whether this command was stopped before all that was asked for was done.
        diverged: how many runs have a network that diverged.
        elsewhere: how many runs other commands train now.
        enough: whether no more was asked for: --count runs have ended, or the target is reached.
        missing: how many runs have ended that are not in this runs directory.
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
        """Runs that have neither come to an end nor failed, and that nobody trains."""
        known = self.finished + self.stopped + len(self.failed) + self.elsewhere
        return self.slots - known - self.missing

    @property
    def complete(self) -> bool:
        """Whether every run has come to its end."""
        return self.finished + self.stopped == self.slots

    @property
    def exit_code(self) -> int:
        """0 if all that was asked for is done."""
        left = self.left > 0 and not self.enough
        return int(bool(self.failed) or self.interrupted or self.missing > 0 or left)


def outcome(queue: Queue, keys: Sequence[str]) -> Outcome:
    """Read from the study how its slots stand."""
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
    """Say how a sweep stands, and what failed."""
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
