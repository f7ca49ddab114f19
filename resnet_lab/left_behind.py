"""What operating systems, file servers and editors leave in folders without being asked."""

from __future__ import annotations

NAMES = (
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"),
    *("$recycle.bin", "system volume information", "lost+found"),
)
"""In lower case. Whatever begins with a dot counts as well: .DS_Store, ._x.jpg, .git,
.ipynb_checkpoints."""


def is_left_behind(name: str) -> bool:
    """Whether an entry of a folder is nobody's data, by its name."""
    return name.startswith(".") or name.lower() in NAMES
