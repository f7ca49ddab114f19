"""The page's inline scripts, and the policy that allows these scripts only."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from analysis.report.explorer import Explorer

POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Scripts:
    """The page's scripts, in order; `policy` is its Content-Security-Policy."""

    sources: tuple[Markup, ...]
    policy: str


def scripts(explorer: Explorer | None) -> Scripts:
    """Return Plotly and the explorer's script where there is an explorer, else nothing.

    The policy lists the scripts' hashes, so that no text from a run can execute as a script.
    """
    if explorer is None:
        return Scripts((), POLICY)
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped,unused-ignore]

    own = Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")
    sources = tuple(inline(text) for text in (get_plotlyjs(), own))
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in sources)
    return Scripts(sources, f"{POLICY}; script-src {hashes}")


def inline(text: str) -> Markup:
    """Return a trusted script for a script element, with the line endings that browsers hash.

    Raises:
        ValueError: the script contains text that would end the element.
    """
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("the script holds what ends a script element")
    return Markup(text.replace("\r\n", "\n").replace("\r", "\n"))


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
