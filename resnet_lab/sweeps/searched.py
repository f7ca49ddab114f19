"""What a search was to do, and its trials, as its study's folder and its storage say.

Beside run directories this is what analysis knows of searches.
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
from typing import Any

from resnet_lab.sweeps.distributions import as_flag
from resnet_lab.sweeps.naming import FILE
from resnet_lab.sweeps.queue import DUPLICATE, FLAGS, RUN, SLOT
from resnet_lab.sweeps.storage import VARIABLE, close, open_storage
from resnet_lab.sweeps.verdict import split_metric
from resnet_lab.yaml_json import DocumentError, load_json, load_yaml, read_text

JOURNAL = "study.journal"
_SEED = re.compile(r" seed (\d+)")


@dataclass(frozen=True)
class Range:
    """Where a parameter was drawn from.

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
    """What a search was to do.

    Attributes:
        method: "random" or "bayes".
        metric: what it minimises, such as validation_error or plain-56/validation_loss.
        seed: of its draws.
        halving: whether it stopped runs early.
        ranges: drawn parameter -> where from, in the file's order.
    """

    method: str
    metric: str
    seed: int
    halving: bool
    ranges: dict[str, Range]

    @property
    def member(self) -> str | None:
        """The network of a cohort that the metric names, if it does."""
        return split_metric(self.metric)[0]

    @property
    def number(self) -> str:
        """The metric without a network's name."""
        return split_metric(self.metric)[1]


@dataclass(frozen=True)
class StoredTrial:
    """A slot of a search as its storage has it.

    Attributes:
        number: of the slot, from 0.
        state: Optuna's: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        run: name of its run directory; "" before it has one.
        flags: what was drawn, as flags of `resnet-lab train`.
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
    """Read what the search in a study's folder was to do; None where it is no search."""
    text = _noted(folder).get("search") or _journal_fingerprint(folder / JOURNAL)
    return parse_fingerprint(text) if isinstance(text, str) else None


def _noted(folder: Path) -> dict[str, Any]:
    try:
        found = load_json(read_text(folder / FILE))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _journal_fingerprint(journal: Path) -> str | None:
    """The fingerprint in a journal: among its first lines, as a study is begun with it."""
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
    """Read a search's fingerprint, as `Work.fingerprint` writes it; None for another text."""
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
    """Read a distribution's representation; None of a constant."""
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
    """Read a search's slots from its storage, in their order; none where it cannot be read.

    Args:
        folder: the study's own.
        storage: URL or path of the storage; None: the journal in the folder.
    """
    if importlib.util.find_spec("optuna") is None:
        return []
    if storage is None and not (folder / JOURNAL).is_file():
        return []
    study = _noted(folder).get("study") if storage is not None else None
    found: dict[str, StoredTrial] = {}
    for trial in _frozen(folder, storage, study):
        attributes = trial.user_attrs
        if SLOT in attributes and DUPLICATE not in attributes:
            found[str(attributes[SLOT])] = StoredTrial(
                number=int(attributes[SLOT]),
                state=trial.state.name,
                run=str(attributes.get(RUN, "")),
                flags=str(attributes.get(FLAGS, "")),
            )
    return sorted(found.values(), key=lambda one: one.number)


def _frozen(folder: Path, storage: str | None, study: str | None) -> list[Any]:
    """All of a study's trials. A journal is only read here: nothing in it is mended."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is None:
        try:
            opened: Any = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
            known = opened.get_all_studies()
        except Exception:  # whatever a damaged journal makes Optuna raise
            return []
        return opened.get_all_trials(known[0]._study_id, deepcopy=False) if known else []
    opened = open_storage(storage, folder, 30)
    try:
        names = [study] if study is not None else [folder.name]
        known = [one for one in opened.get_all_studies() if one.study_name in names]
        return opened.get_all_trials(known[0]._study_id, deepcopy=False) if known else []
    finally:
        close(opened)


def usual_storage() -> str | None:
    """The storage that the environment names."""
    return os.environ.get(VARIABLE)


def read_settings(run: Path) -> dict[str, Any]:
    """Read a run's configuration as nested plain values; empty where it cannot be read."""
    try:
        found = load_yaml(read_text(run / "config.yaml"))
    except (OSError, DocumentError):
        return {}
    return found if isinstance(found, dict) else {}


def as_flags(values: Mapping[str, Any]) -> str:
    """Write drawn values as flags of `resnet-lab train` that a shell reads."""
    return shlex.join(f"--{name}={as_flag(value)}" for name, value in values.items())
