"""The project's own files, whatever else a user keeps in the checkout."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from tiny_runs import ROOT


@cache
def _tracked() -> frozenset[Path] | None:
    """Every file that git tracks; None where this is no git checkout."""
    try:
        told = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True
        )
    except OSError:
        return None
    names = told.stdout.split("\0") if told.returncode == 0 else []
    return frozenset(ROOT / name for name in names if name) or None


def own_files(*patterns: str) -> list[Path]:
    """Files of the project that match any of these patterns, sorted.

    A user's own files among them are left out. Where git cannot tell, all count as the project's.
    """
    tracked = _tracked()
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(path for path in found if tracked is None or path in tracked)
