"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: the message names the value, the rule that it breaks and the way out.

    The command line prints the message alone and exits with 2.
    """


class RunHeld(UserError):
    """Another process that lives trains the run: whoever can wait need not fail."""


class RunFailed(RuntimeError):
    """A run broke off for a reason outside the program: the message names it and the way out.

    The command line prints the message alone and exits with 1.
    """


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f", did you mean '{nearest[0]}'?" if nearest else ""
