"""Tables for a paper: Markdown, and LaTeX with booktabs, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.claims import Verdict
from analysis.factorial_design import apart_from_factorials, split_factorials
from analysis.factorial_tables import cells_for_reading, effects_for_reading, roles_for_reading
from analysis.pairs import pairs_for_reading, pairs_table
from analysis.remedies import remedies_for_reading, split_remedies
from analysis.scoreboard import scoreboard
from analysis.search import apart_from_searches, split_searches
from analysis.tables import (
    for_reading,
    is_wordy,
    results_table,
    scoreboard_for_reading,
    trials_for_reading,
    tuned_for_reading,
)
from analysis.text import markdown_table
from analysis.tuning import split_tunings
from resnet_lab.runs.frames import Runs

MARKDOWN_SPECIAL = "\\`*_<>|[]#"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "\n": " ",
}
WIDE = 28
"""Width in characters at which a column of sentences is wrapped in LaTeX."""
WIDE_COLUMN = r">{\raggedright\arraybackslash}p{4.2cm}"


@dataclass(frozen=True)
class PaperTable:
    """A table of texts with its caption; `name` is its file, which may hold several tables."""

    name: str
    caption: str
    texts: pd.DataFrame


def paper_tables(runs: Runs, verdicts: Sequence[Verdict]) -> list[PaperTable]:
    """Return the report's tables: verdicts, pairs, factorials, remedies, tunings, searches.

    Results and the scoreboard follow, the latter limited to published numbers that have runs to
    compare.
    """
    searches = split_searches(runs)
    apart = apart_from_searches(runs)
    results = results_table(apart)
    groups = results.groupby("protocol", sort=False) if len(results) else ()
    pairs = pairs_table(runs).groupby("protocol", sort=False)
    cells = scoreboard(runs)
    cells = cells[cells["verdict"] != "not run"]
    return [
        PaperTable("verdicts", "What the runs say of the paper's claims.", _verdicts(verdicts)),
        *(
            PaperTable("pairs", f"Plain minus residual, points: {label}.", pairs_for_reading(rows))
            for label, rows in pairs
        ),
        *(
            PaperTable(f"factorial_{name}", f"{title}: {one.label}.", texts)
            for one in split_factorials(apart)
            for name, title, table in (
                ("cells", "Cells", cells_for_reading),
                ("effects", "Effects on training error", effects_for_reading),
                ("roles", "Sufficient and necessary", roles_for_reading),
            )
            if len(texts := table(one))
        ),
        *(
            PaperTable("remedies", f"At equal budget: {one.label}.", remedies_for_reading(one))
            for one in split_remedies(apart)
        ),
        *(
            PaperTable("tuning", f"Each network at its best rate: {one.label}.", texts)
            for one in split_tunings(apart_from_factorials(apart))
            for texts in [tuned_for_reading(one)]
        ),
        *(
            PaperTable("trials", f"Best trials: {one.label}.", trials_for_reading(one))
            for one in searches
        ),
        *(
            PaperTable("results", f"Mean ± sd over n seeds: {label}.", for_reading(rows))
            for label, rows in groups
        ),
        *(
            PaperTable("scoreboard", "Published numbers and ours.", scoreboard_for_reading(part))
            for part in [cells]
            if len(part)
        ),
    ]


def _verdicts(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    rows = [(one.title, one.verdict, one.evidence, one.protocol) for one in verdicts]
    return pd.DataFrame(rows, columns=["claim", "verdict", "evidence", "runs"])


def write_exports(tables: Sequence[PaperTable], folder: Path) -> list[Path]:
    """Write each name's tables as ``name.md`` and ``name.tex``; returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in dict.fromkeys(one.name for one in tables):
        own = [one for one in tables if one.name == name]
        files = {
            "md": "\n".join(markdown(one.texts, one.caption) for one in own),
            "tex": "\n".join(
                latex(one.texts, one.caption, f"tab:{name}-{number}")
                for number, one in enumerate(own, start=1)
            ),
        }
        for suffix, text in files.items():
            path = folder / f"{name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def markdown(texts: pd.DataFrame, caption: str = "") -> str:
    """Return a frame of texts as a GitHub Markdown table, numbers right-aligned."""
    left = _left(texts)
    rows = [list(map(str, texts.columns)), *(list(map(str, row)) for row in texts.to_numpy())]
    head, *body = [[escape_markdown(cell) for cell in row] for row in rows]
    title = f"**{escape_markdown(caption)}**\n\n" if caption else ""
    return f"{title}{markdown_table(head, body, left)}\n"


def latex(texts: pd.DataFrame, caption: str, label: str) -> str:
    r"""Return a frame of texts as a LaTeX ``table`` environment with booktabs rules.

    The preamble needs ``\usepackage{array,booktabs}``.
    """
    head, *body = [
        " & ".join(escape_latex(str(cell)) for cell in row) + r" \\"
        for row in (list(texts.columns), *texts.to_numpy().tolist())
    ]
    lines = [
        r"% needs \usepackage{array,booktabs}",
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape_latex(caption)}}}\label{{{label}}}",
        rf"\begin{{tabular}}{{{_columns(texts)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _columns(texts: pd.DataFrame) -> str:
    kinds: Mapping[bool, str] = {True: "l", False: "r"}
    return "".join(
        WIDE_COLUMN if left and _longest(texts[name]) > WIDE else kinds[left]
        for name, left in zip(texts.columns, _left(texts), strict=True)
    )


def _longest(column: pd.Series[str]) -> int:
    return max((len(str(text)) for text in column), default=0)


def _left(texts: pd.DataFrame) -> list[bool]:
    """Return which columns are left-aligned: the first, and those that hold words."""
    return [
        number == 0 or is_wordy(texts[name].astype(str))
        for number, name in enumerate(texts.columns)
    ]


def escape_markdown(text: str) -> str:
    """Return text escaped for Markdown, on one line."""
    escaped = "".join(f"\\{one}" if one in MARKDOWN_SPECIAL else one for one in text)
    return " ".join(escaped.split())


def escape_latex(text: str) -> str:
    r"""Return text escaped for LaTeX.

    >>> escape_latex("56.10 ± 1.10 % of a_b")
    '56.10 $\\pm$ 1.10 \\% of a\\_b'
    """
    return "".join(LATEX.get(one, one) for one in text)
