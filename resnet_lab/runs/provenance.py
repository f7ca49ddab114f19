"""Where a number comes from: versions, hardware and the state of the code."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def now() -> str:
    """The present time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(device: str) -> dict[str, Any]:
    """Describe this machine and this code.

    Args:
        device: what computes, in words, such as "cpu" or the name of a GPU.
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
    }


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
