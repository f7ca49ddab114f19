"""Progress of a whole sweep: a line for each run, and on a terminal a bar over all of them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from resnet_lab.sweeps.duration import Clock, estimate
from resnet_lab.sweeps.metric import best_value, metric_in_words
from resnet_lab.sweeps.queue import EVALUATIONS, RUN, SLOT

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from resnet_lab.sweeps.queue import Queue

SECONDS_BETWEEN_LOOKS = 1.0
FORMAT = "{percentage:3.0f}%|{bar}| {n:.1f} of {total} runs [{elapsed}{postfix}]"
VERBS = {
    "finished": "finished",
    "stopped": "stopped early",
    "interrupted": "interrupted",
    "failed": "failed",
    "left": "left until later",
}


class View:
    """Print a sweep's progress to standard error.

    Args:
        queue: of the study.
        keys: of its slots.
        metric: of a search; None: runs are not compared.
        clock: estimates the time left.
        bar: show a bar over all runs, if there is a terminal; a single worker shows its run's own.

    Attributes:
        begun: how many runs have begun.
        ended: how many of them have ended, failed ones included.
        interrupted: whether a run was interrupted.
        refusal: why the first run could not begin.
    """

    def __init__(
        self, queue: Queue, keys: Sequence[str], metric: str | None, clock: Clock, *, bar: bool
    ) -> None:
        self.begun = self.ended = 0
        self.interrupted = False
        self.refusal: str | None = None
        self._left: set[str] = set()
        self._queue = queue
        self._keys = keys
        self._metric = metric
        self._clock = clock
        self._looked = 0.0
        self._bar: tqdm[Any] | None = None
        if bar and sys.stderr.isatty():
            self._bar = tqdm(
                total=len(keys), bar_format=FORMAT, dynamic_ncols=True, leave=False, miniters=0
            )

    def tell(self, kind: str, run: str, detail: str) -> None:
        """Print an event of a run; a run left to another process is reported once only."""
        if kind == "refused":
            self.refusal = detail
        elif run in self._left and kind in ("begun", "left"):
            return
        elif kind == "begun":
            self.begun += 1
            self.say(f"run {self._number(run)} of {len(self._keys)}: {run}")
        else:
            self.interrupted |= kind == "interrupted"
            self.ended += kind in ("finished", "stopped", "failed")
            if kind == "left":
                self._left.add(run)
            self.say(f"{VERBS[kind]}: {run}: {detail}")
            if kind in ("finished", "stopped"):
                self._clock.note(run)
                self.say_what_is_left(known=False)

    def say_what_is_left(self, *, known: bool = True) -> None:
        """Print how many runs are left and, where runs were measured, how long they will take.

        Args:
            known: print nothing where the time is not known.
        """
        left = self._shares_left()
        time = self._time_left(left)
        if left and (time or not known):
            runs = "1 run is left" if len(left) == 1 else f"{len(left)} runs are left"
            self.say(f"{runs}{f', {time}' if time else ''}")

    def _shares_left(self) -> dict[str, float]:
        """Slot -> share of its run that is still to be trained; failed runs are left out."""
        attempts = self._queue.attempts()
        done = {key: _share(attempts[key]) if key in attempts else 0.0 for key in self._keys}
        return {key: 1 - share for key, share in done.items() if share < 1}

    def _time_left(self, left: Mapping[str, float]) -> str:
        seconds = self._clock.seconds_left(left) if left else None
        return "" if seconds is None else estimate(seconds, self._clock.workers)

    def _number(self, run: str) -> int:
        """Number of a run in order of beginning; runs put back into the queue do not count."""
        keys = set(self._keys)
        trials = [trial for trial in self._queue.trials() if trial.user_attrs[SLOT] in keys]
        mine = [t.datetime_start for t in trials if t.user_attrs.get(RUN) == run]
        begun = {t.user_attrs[SLOT]: t.datetime_start for t in trials if t.state.name != "WAITING"}
        last = max((start for start in mine if start), default=datetime.max)
        return 1 + sum(start is not None and start < last for start in begun.values())

    def look(self) -> None:
        """Update the bar if the last update is long enough ago."""
        if self._bar is None or time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        attempts = self._queue.attempts()
        trials = [attempts[key] for key in self._keys if key in attempts]
        states = [trial.state.name for trial in trials]
        self._bar.n = sum(map(_share, trials))
        parts = [f"{states.count('RUNNING')} running", f"{states.count('FAIL')} failed"]
        if self._metric is not None and (best := best_value(trials)) is not None:
            parts.append(f"best {metric_in_words(self._metric, best)}")
        if time_left := self._time_left(self._shares_left()):
            parts.append(f"{time_left} left")
        self._bar.set_postfix_str(", ".join(parts))

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _share(trial: FrozenTrial) -> float:
    """Share of a run that is done, by its last evaluation; an ended run is done."""
    state = trial.state.name
    if state == "RUNNING":
        return float((trial.last_step or 0) / trial.user_attrs.get(EVALUATIONS, math.inf))
    return float(state != "WAITING")
