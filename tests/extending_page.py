"""The examples of docs/extending.md, section by section."""

from __future__ import annotations

import re

from tiny_runs import ROOT


def examples(section: str = "Your own parts") -> list[str]:
    """The Python below a heading, block by block, up to the next heading of its level."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    parts = re.split(r"^##? (.+)\n", page, flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    return re.findall(r"```python\n(.*?)```", found, flags=re.S)
