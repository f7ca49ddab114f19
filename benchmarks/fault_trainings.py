"""Faults inside a training: NaN, memory, clocks, and a second process on the same run."""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_commands import Command, elsewhere, fork_workers
from fault_runs import (
    PLAIN,
    RESIDUAL,
    STEPS,
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
    results,
    resumed,
    the_run,
)

DAY = 86_400.0


def at_step(step: int, act: Callable[[Any, int], object]) -> None:
    """In a command: call `act` before each member's update at a step.

    Args:
        act: called with the cohort and the member's index in it.
    """
    from resnet_lab.training.cohort import Cohort

    undisturbed: Callable[..., Any] = Cohort.learn

    def learn(self: Cohort, member: int, *given: Any) -> Any:
        if self.global_step == step:
            act(self, member)
        return undisturbed(self, member, *given)

    Cohort.learn = learn  # type: ignore[method-assign]


def nan_losses(ground: Ground, times: int) -> Tally:
    """One network's loss becomes NaN: it is frozen, and its twin trains on unharmed."""
    tally, reference = Tally(), ground.reference

    def poison(cohort: Any, member: int) -> None:
        import torch

        if cohort.names[member] == PLAIN:
            weight = cohort.networks[member].get_parameter("stem.conv.weight")
            torch.nn.init.constant_(weight, torch.nan)

    for _ in range(times):
        folder, step = ground.fresh(), ground.random.randrange(STEPS)
        command = Command(TRAIN, folder, lambda step=step: at_step(step, poison))
        case, code, run = Case(), command.wait(), the_run(folder)
        case.expect(code == 0, command.told)
        info = contents(run)
        plain, twin = info["networks"]
        case.expect(info["status"] == "finished", f"status {info['status']}")
        state = plain["status"], plain["diverged_at"], plain["final"]
        case.expect(state == ("diverged", step, {}), f"the network that diverged: {state}")
        case.expect(twin == contents(reference)["networks"][1], "final numbers of the twin differ")
        weights = f"{RESIDUAL}.pt"
        same = results(run)[weights] == results(reference)[weights]
        case.expect(same, "the twin has other weights")
        mine, theirs = (elsewhere(lambda where=where: _rows(where)) for where in (run, reference))
        case.expect(mine == theirs, "the twin has other rows")
        before = (run / "run.json").read_bytes()
        again = Command(TRAIN, folder)
        case.expect(again.wait() == 0 and "already finished" in again.told, again.told)
        case.expect((run / "run.json").read_bytes() == before, "run.json was changed")
        tally.add(case, f"NaN at step {step}")
        clean(folder)
    return tally


def _rows(run: Path) -> list[str]:
    import pandas as pd

    tables = [pd.read_parquet(run / f"{name}.parquet") for name in ("metrics", "layers")]
    return [t[t["network"] == RESIDUAL].to_json(orient="values") for t in tables]


def out_of_memory(ground: Ground, times: int) -> Tally:
    """An allocation fails: the message names the batch; with enough memory the command resumes."""
    tally = Tally()

    def allocate(cohort: Any, member: int) -> None:
        import torch

        torch.empty(2**60, dtype=torch.uint8)

    for _ in range(times):
        folder, step = ground.fresh(), ground.random.randrange(STEPS)
        command = Command(TRAIN, folder, lambda step=step: at_step(step, allocate))
        case = Case()
        command.wait()
        words = (f"out of memory at step {step}", "recipe.batch_size 16", "lower the batch")
        check_told(case, command, *words, codes=(1,))
        saved = Saved.of(the_run(folder))
        case.expect(contents(the_run(folder))["status"] == "failed", "run.json does not say failed")
        go_on(case, folder, ground.reference, saved)
        tally.add(case, f"at step {step}")
        clean(folder)
    return tally


# Clocks


def clock_jumps(ground: Ground, times: int) -> Tally:
    """The clock jumps by years at every reading, in a run that is killed and one that resumes; and
    one of the two workers of a sweep is a day ahead."""
    tally = Tally()
    for _ in range(times):
        folder, seed = ground.fresh(), ground.random.randrange(2**30)
        moment = ground.random.uniform(0.3, 0.9) * ground.seconds("train")
        command = Command(TRAIN, folder, lambda seed=seed: _jump(seed))
        time.sleep(moment)
        command.kill()
        case, saved = Case(), Saved.of(the_run(folder))
        again = Command(TRAIN, folder, lambda seed=seed: _jump(seed + 1))
        case.expect(again.wait() == 0, again.told)
        go_on(case, folder, ground.reference, saved)
        tally.add(case, f"a run, killed after {moment:.3f} s")
        clean(folder)
    for _ in range(times):
        folder = ground.fresh()
        command = Command([*SWEEP, "--workers=2"], folder, _one_ahead)
        case = Case()
        case.expect(command.wait() == 0, command.told)
        begun = re.findall(r"^run \d of 4: (\S+)", command.told, re.MULTILINE)
        case.expect(len(begun) == len(set(begun)), f"a run was begun twice: {command.told}")
        check_study(case, folder, ground.study, {})
        tally.add(case, "a worker whose clock is a day ahead")
        clean(folder)
    return tally


def _jump(seed: int) -> None:
    """In a command: make the clock read a random time within some years."""
    draw, clock = random.Random(seed), time.time
    time.time = lambda: clock() + draw.uniform(-1e8, 1e8)


def _one_ahead() -> None:
    """In a command: fork workers; the clock of every second one is a day ahead."""
    fork_workers()
    clock = time.time

    def ahead() -> float:
        name = multiprocessing.current_process().name
        return clock() + DAY * (name[-1].isdigit() and int(name[-1]) % 2)

    time.time = ahead


# Two processes


def two_processes(ground: Ground, times: int) -> Tally:
    """Start two commands on one new run, or on the run of a killed process."""
    tally = Tally()
    for number in range(2 * times):
        folder, case, saved = ground.fresh(), Case(), None
        if number % 2:
            first = Command(TRAIN, folder)
            time.sleep(ground.random.uniform(0.2, 0.8) * ground.seconds("train"))
            first.kill()
            saved = Saved.of(the_run(folder))
        pair = [Command(TRAIN, folder)]
        time.sleep(ground.random.choice([0.0, ground.random.uniform(0, 0.5)]))
        pair.append(Command(TRAIN, folder))
        codes = sorted(command.wait() or 0 for command in pair)
        case.expect(codes in ([0, 2], [0, 0]), f"exit codes {codes}")
        for command in pair:
            if command.code == 2:
                check_told(case, command, "is being trained by process", codes=(2,))
        trained = sum("already finished" not in c.told for c in pair if c.code == 0)
        case.expect(trained == 1 or saved is not None, f"{trained} processes trained the run")
        go_on(case, folder, ground.reference, saved)
        case.expect(len(resumed(the_run(folder))) <= 1, "the run was continued twice")
        told = json.dumps([command.told[-300:] for command in pair])
        tally.add(case, f"two commands, {'after a kill' if number % 2 else 'at once'}: {told}")
        clean(folder)
    return tally
