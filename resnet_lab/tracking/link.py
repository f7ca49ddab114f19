"""The W&B run that mirrors a run directory, and up to which step: "tracking" in run.json.

id       of the W&B run
entity   of the W&B run; null: the login's own
project  of the W&B run
url      of its page, where there is one
sweep    that it belongs to, if any
next     W&B, or the offline folders, have all rows before this step; null while an online client
         runs: only the server knows how much it has sent
offline  names of the offline folders that hold rows, oldest first
host, namespace, pid, started
         the process that trains, or trained last: see `resnet_lab.runs.owner`
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, fields
from typing import Any

from resnet_lab.runs.owner import Owner

Info = dict[str, Any]
"""Contents of run.json."""


def link(info: Info, run_id: str | None = None, sweep: str | None = None) -> str:
    """Record in `info` that a client is about to mirror the run online; return the W&B run's id.

    Args:
        info: contents of run.json.
        run_id: the id that a sweep's agent has chosen.
        sweep: id of that sweep.
    """
    known = info.get("tracking") or {}
    run_id, sweep = run_id or known.get("id") or _new_id(), sweep or known.get("sweep")
    info["tracking"] = {
        "id": run_id,
        "sweep": sweep,
        "next": None,
        "offline": [],
        **asdict(Owner.here()),
    }
    return run_id


def link_offline(info: Info) -> tuple[str, int]:
    """Record in `info` that rows are about to be written offline; return id and first step.

    If a client was killed while it sent rows, it is unknown here which of them the server has. All
    rows then go to a new W&B run.
    """
    known = info.get("tracking") or {}
    if known.get("next") is None:
        known = {"id": _new_id(), "next": 0, "offline": []}
    info["tracking"] = {**known, **asdict(Owner.here())}
    return str(known["id"]), int(known["next"])


def unlink_elsewhere(info: Info, entity: str | None, project: str) -> None:
    """Remove the link to a W&B run in another project: the directory has none in this one."""
    known = info.get("tracking") or {}
    if known.get("project") not in (None, project) or (
        None not in (entity, known.get("entity")) and known["entity"] != entity
    ):
        del info["tracking"]


def is_mirrored(info: Info) -> bool:
    """Whether a finished run has nothing left to send."""
    following = (info.get("tracking") or {}).get("next")
    return following is not None and following > info["step"]


def is_cut_off(info: Info) -> bool:
    """Whether a run marked as running was in fact killed on this machine."""
    known = info.get("tracking") or {}
    if info["status"] != "running" or "pid" not in known:
        return False
    return Owner(*(known[field.name] for field in fields(Owner))).is_dead()


def _new_id() -> str:
    return secrets.token_hex(6)
