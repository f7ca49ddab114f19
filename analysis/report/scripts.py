"""The page's inline scripts, and the policy that allows these scripts only."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from analysis.report.explorer import Explorer

POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Scripts:
    """The page's scripts, and the Content-Security-Policy that allows them.

    `own` runs when the page opens; "" where there is no explorer. `plotly` is compressed: `own`
    unpacks and runs it when the explorer is opened, as it is most of the page.
    """

    own: Markup
    plotly: str
    policy: str


def scripts(explorer: Explorer | None) -> Scripts:
    """Return Plotly and the explorer's script where there is an explorer, else nothing.

    The policy lists the scripts' hashes, so that no text from a run can execute as a script.
    """
    if explorer is None:
        return Scripts(Markup(""), "", POLICY)
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped,unused-ignore]

    own = inline(Path(__file__).with_name("explorer.js").read_text(encoding="utf-8"))
    plotly = inline(get_plotlyjs())
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in (own, plotly))
    return Scripts(own, packed(plotly), f"{POLICY}; script-src {hashes}")


def packed(text: str) -> str:
    """Return text compressed by gzip, in base64: a quarter to a third of it; always equal bytes."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


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
