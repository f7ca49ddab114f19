"""Contestants that take turns in one process, so that noise affects all of them alike."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import pytorch_lightning as pl
import torch

from resnet_lab.configuration.config import Config
from resnet_lab.training.train import train


class Contestant(ABC):
    """A training loop that runs a few updates at a time."""

    @abstractmethod
    def warm_up(self) -> None:
        """Do one-time work: compile, choose kernels, fill caches."""

    @abstractmethod
    def run(self, updates: int) -> tuple[int, float]:
        """Run at least `updates` updates; return their number and the seconds that they took."""

    @abstractmethod
    def stop(self) -> None:
        """Release all resources."""


class Loop(Contestant):
    """A loop written by hand: `step` makes one update. It has its own thread, like `Training`.

    Args:
        step: one update.
        warm: updates before the clock starts.
    """

    def __init__(self, step: Callable[[], object], warm: int = 3) -> None:
        self._step = step
        self._warm = warm
        self._thread = ThreadPoolExecutor(1)

    def warm_up(self) -> None:
        """Make the first updates."""
        self.run(self._warm)

    def run(self, updates: int) -> tuple[int, float]:
        """Make the updates, and wait for the device."""
        return self._thread.submit(self._run, updates).result()

    def _run(self, updates: int) -> tuple[int, float]:
        wait_for_device()
        begun = time.perf_counter()
        for _ in range(updates):
            self._step()
        wait_for_device()
        return updates, time.perf_counter() - begun

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown()


class Training(Contestant):
    """`train` as users run it, in a thread that waits unless it is its turn.

    Args:
        config: a run that is long enough; its directory is not used.
        warm: updates before the clock starts.
    """

    def __init__(self, config: Config, warm: int = 3) -> None:
        self._config = config
        self._warm = warm
        self._baton = Baton()
        self._thread = threading.Thread(target=self._train, daemon=True)

    def _train(self) -> None:
        try:
            train(self._config, callbacks=[self._baton])
        except Exception as error:
            self._baton.fail(error)

    def warm_up(self) -> None:
        """Start the training and make the first updates."""
        self._thread.start()
        self.run(self._warm)

    def run(self, updates: int) -> tuple[int, float]:
        """Let it train until that many updates are made."""
        return self._baton.lend(updates)

    def stop(self) -> None:
        """End the training."""
        self._baton.end()
        self._thread.join()


class Baton(pl.Callback):
    """Callback that lets a training run its turn's updates and then wait."""

    def __init__(self) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._first, self._wanted, self._made = 0, 0, 0
        self._ends = False
        self._error: Exception | None = None

    def lend(self, updates: int) -> tuple[int, float]:
        """Called by the referee: return updates made and seconds, those of the device included."""
        self._wanted = updates
        begun = time.perf_counter()
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._made, time.perf_counter() - begun

    def end(self) -> None:
        """Called by the referee: let the training finish early."""
        self._ends = True
        self._go.release()

    def fail(self, error: Exception) -> None:
        """Called by the training's thread: it failed with `error`, so no turn follows."""
        self._error = error
        self._done.release()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the first turn."""
        self._first = trainer.global_step
        self._go.acquire()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """End the turn when its updates are made."""
        made = trainer.global_step - self._first
        if made < self._wanted:
            return
        wait_for_device()
        self._first, self._made = trainer.global_step, made
        self._done.release()
        self._go.acquire()
        trainer.should_stop = trainer.should_stop or self._ends


def wait_for_device() -> None:
    """Wait until the GPU, if any, has finished its queued work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass
class Times:
    """Seconds an update of one contestant, turn by turn."""

    seconds: list[float] = field(default_factory=list)

    @property
    def undisturbed(self) -> float:
        """The lower quartile, as other load on a machine only adds time."""
        return quantiles(self.seconds, n=4, method="inclusive")[0]

    def over(self, other: Times) -> dict[str, float]:
        """Ratios to another contestant: of the undisturbed times, and turn by turn the median,
        lowest and highest.
        """
        ratios = [mine / yours for mine, yours in zip(self.seconds, other.seconds, strict=True)]
        return {
            "undisturbed": round(self.undisturbed / other.undisturbed, 4),
            "median": round(median(ratios), 4),
            "lowest": round(min(ratios), 4),
            "highest": round(max(ratios), 4),
        }


def take_turns(
    contestants: dict[str, Contestant], *, rounds: int, updates: int
) -> dict[str, Times]:
    """Time all contestants in turn, `rounds` times, the order reversed every other time."""
    times = {name: Times() for name in contestants}
    try:
        for contestant in contestants.values():
            contestant.warm_up()
        for turn in range(rounds):
            order: Sequence[str] = list(contestants)[:: -1 if turn % 2 else 1]
            for name in order:
                made, seconds = contestants[name].run(updates)
                times[name].seconds.append(seconds / made)
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return times
