"""Definition and trials of a search, read from its study's folder and its storage.

Analysis reads searches through this module and the run directories only.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.sweeps.distributions import as_flag
from resnet_lab.sweeps.metric import split_metric
from resnet_lab.sweeps.queue import FLAGS, RUN, Queue
from resnet_lab.sweeps.storage import JOURNAL, VARIABLE, close, open_storage
from resnet_lab.sweeps.study_name import read_study
from resnet_lab.yaml_json import DocumentError, load_yaml, read_text

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_SEED = re.compile(r" seed (\d+)")


@dataclass(frozen=True)
class Range:
    """Range that a parameter was drawn from.

    Attributes:
        text: in words, such as "0.003 to 1 (log)".
        low, high: ends of a range of numbers; None of a list of values.
        log: whether its logarithm was drawn.
        whole: whether values are whole numbers.
    """

    text: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Definition:
    """Definition of a search.

    Attributes:
        method: "random" or "bayes".
        metric: what it minimises, such as validation_error or plain-56/validation_loss.
        seed: of its draws.
        halving: whether it stopped runs early.
        ranges: drawn parameter -> its range, in the file's order.
    """

    method: str
    metric: str
    seed: int
    halving: bool
    ranges: dict[str, Range]

    @property
    def member(self) -> str | None:
        """The network of a cohort that the metric names, if any."""
        return split_metric(self.metric)[0]

    @property
    def number(self) -> str:
        """The metric without a network's name."""
        return split_metric(self.metric)[1]


@dataclass(frozen=True)
class StoredTrial:
    """A slot of a search as stored.

    Attributes:
        number: of the slot, from 0.
        state: Optuna's: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        run: name of its run directory; "" before it has one.
        flags: drawn values, as flags of `resnet-lab train`.
    """

    number: int
    state: str
    run: str
    flags: str

    @property
    def values(self) -> dict[str, Any]:
        """Parameter -> drawn value."""
        pairs = (flag.removeprefix("--").partition("=") for flag in shlex.split(self.flags))
        return {name: load_yaml(value) for name, _, value in pairs}


def read_definition(folder: Path) -> Definition | None:
    """Read the definition of the search in a study's folder; None if it is no search."""
    text = read_study(folder).get("search") or _journal_fingerprint(folder / JOURNAL)
    return parse_fingerprint(text) if isinstance(text, str) else None


def _journal_fingerprint(journal: Path) -> str | None:
    """The fingerprint in a journal, which is among the first lines."""
    try:
        with journal.open(encoding="utf-8") as lines:
            for _, line in zip(range(20), lines, strict=False):
                found = json.loads(line).get("user_attr", {}).get("fingerprint")
                if found is not None:
                    return str(found)
    except (OSError, ValueError, AttributeError):
        pass
    return None


def parse_fingerprint(text: str) -> Definition | None:
    """Read a search's fingerprint, as `Job.fingerprint` writes it; None for another text."""
    try:
        (method, metric, halving, parameters), end = json.JSONDecoder().raw_decode(text)
        ranges = {str(name): _range(value) for name, value in parameters.items()}
    except (ValueError, TypeError, SyntaxError, AttributeError, KeyError):
        return None
    seed = _SEED.match(text[end:])
    drawn = {name: found for name, found in ranges.items() if found is not None}
    number = int(seed[1]) if seed else 0
    return Definition(str(method), str(metric), number, halving != "None", drawn)


def _range(text: str) -> Range | None:
    """Read a distribution's representation; None for a constant."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("no distribution")
    given = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    if call.func.id == "Choices":
        values = given["values"]
        return Range(f"one of {', '.join(values)}") if len(values) > 1 else None
    if call.func.id == "Integers":
        low, high = given["low"], given["high"]
        return Range(f"{low} to {high}", low, high, whole=True)
    shape, low, high = given["shape"], float(given["first"]), float(given["second"])
    steps = "" if given["quantum"] is None else f", in steps of {given['quantum']:g}"
    if shape in ("uniform", "log_uniform"):
        log = shape == "log_uniform"
        return Range(f"{low:g} to {high:g}{' (log)' if log else ''}{steps}", low, high, log)
    names = ("a", "b") if shape == "beta" else ("mu", "sigma")
    words = f"{shape.replace('_', '-')}, {names[0]} {low:g}, {names[1]} {high:g}"
    return Range(words + steps, log=shape == "log_normal")


def stored_trials(folder: Path, storage: str | None = None) -> list[StoredTrial]:
    """Read a search's slots from its storage, in order; empty if it cannot be read.

    Args:
        folder: the study's own.
        storage: URL or path of the storage; None: the journal in the folder.
    """
    if importlib.util.find_spec("optuna") is None:
        return []
    found = [
        StoredTrial(
            number=int(slot),
            state=trial.state.name,
            run=str(trial.user_attrs.get(RUN, "")),
            flags=str(trial.user_attrs.get(FLAGS, "")),
        )
        for slot, trial in _attempts(folder, storage).items()
    ]
    return sorted(found, key=lambda one: one.number)


def _attempts(folder: Path, storage: str | None) -> dict[str, FrozenTrial]:
    """The last attempt at each slot. A journal is read but not repaired here."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is not None:
        opened = open_storage(storage, folder)
        return _of_study(opened, str(read_study(folder).get("study", folder.name)))
    if not (folder / JOURNAL).is_file():
        return {}
    try:
        journal = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        names = [one.study_name for one in journal.get_all_studies()]
    except Exception:  # whatever a damaged journal makes Optuna raise
        return {}
    return _of_study(journal, names[0]) if names else {}


def _of_study(storage: BaseStorage, study: str) -> dict[str, FrozenTrial]:
    import optuna

    try:
        return Queue(optuna.load_study(study_name=study, storage=storage), storage).attempts()
    except KeyError:  # the storage has no such study
        return {}
    finally:
        close(storage)


def usual_storage() -> str | None:
    """The storage named in the environment."""
    return os.environ.get(VARIABLE)


def read_settings(run: Path) -> dict[str, Any]:
    """Read a run's configuration as nested plain values; empty where it cannot be read."""
    try:
        found = load_yaml(read_text(run / "config.yaml"))
    except (OSError, DocumentError):
        return {}
    return found if isinstance(found, dict) else {}


def as_flags(values: Mapping[str, Any]) -> str:
    """Write drawn values as flags of `resnet-lab train`, quoted for a shell."""
    return shlex.join(f"--{name}={as_flag(value)}" for name, value in values.items())
