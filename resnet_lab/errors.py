"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

NEAR = 0.75
"""Smallest difflib ratio at which one name may be a misspelling of another."""


class UserError(ValueError):
    """Bad input: the message names the value, the rule that it breaks and the way out.

    The command line prints the message alone and exits with 2.
    """


class RunHeld(UserError):
    """Run is locked by a live process; callers may retry."""


class RunFailed(RuntimeError):
    """A run failed for a reason outside the program; the message names it and the remedy.

    The command line prints the message alone and exits with 1.
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    near = nearest(name, known)
    return f", did you mean '{near}'?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` may be a misspelling of, or None.

    Case, leading dashes, and dashes for underscores make no difference. Dotted names are compared
    by their last parts; the parts before only break ties, as a common section does not make two
    keys alike.
    """
    scored = [(_likeness(_plain(name), _plain(one)), one) for one in known]
    best = max((score for score, _ in scored), default=(0.0, 0.0))
    return next((one for score, one in scored if score == best), None) if best[0] >= NEAR else None


def suggest_path(path: str | Path) -> str:
    """Return ``", did you mean 'x'?"`` for a sibling of a missing `path` with a similar name."""
    path = Path(path)
    try:
        beside = sorted(one for one in path.parent.iterdir() if not one.name.startswith("."))
    except (OSError, ValueError):
        return ""
    likeness = {one: _ratio(_plain(path.stem), _plain(one.stem)) for one in beside}
    near = max(beside, key=lambda one: (likeness[one], one.suffix == path.suffix), default=path)
    return f", did you mean '{near}'?" if likeness.get(near, 0) >= NEAR else ""


def _plain(name: object) -> str:
    return str(name).lower().lstrip("-").replace("-", "_")


def _likeness(name: str, known: str) -> tuple[float, float]:
    """Similarity of the last parts of two names, then of the whole names."""
    whole = _ratio(name.replace(".", "_"), known.replace(".", "_"))
    last = _ratio(name.rpartition(".")[2], known.rpartition(".")[2])
    return max(last, whole if whole == 1 or "." not in name else 0), whole


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
