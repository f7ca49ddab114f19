"""Provenance of results: versions, hardware and the state of the code."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from resnet_lab.parts.files import loaded_files


def now() -> str:
    """The current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


DECIDES_BITS = ("device", "processor", "processes", "torch", "resnet_lab", "git", "code")
"""Values that must be equal for a resumed run to be bit-identical to an uninterrupted one. On the
CPU "device" includes the number of threads. Older runs lack "code"."""


def provenance(device: str) -> dict[str, Any]:
    """Describe this machine and this code.

    Args:
        device: description of the device, such as "cpu (2 threads)" or the name of a GPU.
    """
    return {
        "created": now(),
        "device": device,
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "resnet_lab": _version("resnet-lab"),
        "torch": _version("torch"),
        "lightning": _version("pytorch-lightning"),
        "git": git_state(),
        "code": code_checksum(),
        **({"parts": files} if (files := loaded_files()) else {}),
    }


def note_resumption(
    known: dict[str, Any], here: dict[str, Any], step: int, inexact: Sequence[str] = ()
) -> None:
    """Add a resumption to a run's provenance, and whether the run stays bit-identical.

    Args:
        known: provenance of the run so far; updated to that of this process, with the earlier
            values kept in "resumed".
        here: `provenance` of this process.
        step: updates made before.
        inexact: further reasons why bits may differ.
    """
    changed = [
        f"{name} {known.get(name, 'unknown')} -> {here[name]}"
        for name in DECIDES_BITS
        if known.get(name, here["code"] if name == "code" else "unknown") != here[name]
    ]
    entry = {
        "step": step,
        "at": now(),
        "bit_exact": not changed and not inexact,
        "because": [*changed, *inexact],
    }
    known.setdefault("resumed", []).append(entry)
    known.update({name: value for name, value in here.items() if name != "created"})


@cache
def code_checksum() -> str:
    """Checksum of the package's source files as they are: 16 hexadecimal digits."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def trained_by_other_code(known: Mapping[str, Any]) -> str | None:
    """Describe the code that trained a run, if it differs from this; None for older runs.

    Args:
        known: provenance of the run.
    """
    if known.get("code") in (None, code_checksum()):
        return None
    commit = f", commit {known['git']}" if known.get("git") else ""
    return f"resnet_lab {known.get('resnet_lab')}{commit}"


def git_state() -> str | None:
    """The commit of the code, "+changes" where files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None:
        return None
    dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    return commit[:12] + ("+changes" if dirty else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
