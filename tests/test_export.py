from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import as_runs, demo_runs, member

from analysis.claims import evaluate_claims
from analysis.export import (
    escape_latex,
    escape_markdown,
    latex,
    markdown,
    paper_tables,
    write_exports,
)

TEXTS = pd.DataFrame(
    {
        "network": ["plain-8_a", "resnet|8"],
        "error %": ["1.00 ± 0.10", "-"],
        "note": ["seed 1 diverged at step 12 of 160 & more", ""],
    }
)
DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{array,booktabs}
\begin{document}
%s
\end{document}
"""


def test_markdown_is_a_table_with_numbers_to_the_right() -> None:
    assert markdown(TEXTS, "Two networks.").splitlines() == [
        "**Two networks.**",
        "",
        "| network | error % | note |",
        "| --- | ---: | --- |",
        r"| plain-8\_a | 1.00 ± 0.10 | seed 1 diverged at step 12 of 160 & more |",
        r"| resnet\|8 | - |  |",
    ]


def test_latex_is_a_booktabs_table() -> None:
    assert latex(TEXTS, "50 % of all", "tab:two").splitlines() == [
        r"% needs \usepackage{array,booktabs}",
        r"\begin{table}",
        r"\centering\small",
        r"\caption{50 \% of all}\label{tab:two}",
        r"\begin{tabular}{lr>{\raggedright\arraybackslash}p{4.2cm}}",
        r"\toprule",
        r"network & error \% & note \\",
        r"\midrule",
        r"plain-8\_a & 1.00 $\pm$ 0.10 & seed 1 diverged at step 12 of 160 \& more \\",
        r"resnet\textbar{}8 & - &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_nothing_in_a_name_is_markup() -> None:
    assert escape_markdown("<b>*a*\n[x](y)") == r"\<b\>\*a\* \[x\](y)"
    assert escape_latex(r"\input{x}$^~") == (
        r"\textbackslash{}input\{x\}\$\textasciicircum{}\textasciitilde{}"
    )


def test_every_table_of_the_report_is_written_twice(tmp_path: Path) -> None:
    rows = [member(f"plain-{depth}", 0, lr=lr) for depth in (8, 20) for lr in (0.1, 0.01)]
    runs = as_runs(rows)
    files = write_exports(paper_tables(runs, evaluate_claims(runs)), tmp_path)
    assert [path.name for path in files] == [
        f"{name}.{suffix}" for name in ("verdicts", "tuning", "results") for suffix in ("md", "tex")
    ]
    results = (tmp_path / "results.tex").read_text(encoding="utf-8")
    assert r"\label{tab:results-1}" in results
    assert r"\label{tab:results-2}" in results
    assert "| plain-8 | 1 | 5.00 | 6.00 | 7.00 |" in (tmp_path / "results.md").read_text()


def test_numbers_are_those_of_the_report() -> None:
    runs = demo_runs()
    verdicts, pairs, results = paper_tables(runs, evaluate_claims(runs))
    row = results.texts.set_index("network").loc["plain-56-x0.5"]
    assert row["training error %"] == "56.10 ± 1.10"
    assert verdicts.texts.iloc[0]["verdict"] == "supported"
    assert "width x0.5" in results.caption
    deep = pairs.texts[pairs.texts["pair"] == "plain-56 minus resnet-56"].iloc[0]
    assert (deep["measure"], deep["plain %"]) == ("training error at the end", "56.10")
    assert (deep["difference"], deep["95 % interval"]) == ("+56.10", "[53.37, 58.83]")
    assert (deep["n"], deep["verdict"]) == ("3", "supported")
    assert deep["seed: difference"] == "0: 55.00, 1: 56.10, 2: 57.20"


def test_without_runs_there_are_only_verdicts() -> None:
    runs = as_runs([])
    assert [one.name for one in paper_tables(runs, evaluate_claims(runs))] == ["verdicts"]


def test_latex_itself_accepts_the_tables(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: install texlive-latex-recommended")
    runs = as_runs([member("plain-8", data=r"a_b&c%$#{}~^\|<>±"), member("plain-20", 1, 3.0)])
    tables = paper_tables(runs, evaluate_claims(runs))
    text = "\n".join(latex(one.texts, one.caption, f"tab:{n}") for n, one in enumerate(tables))
    (tmp_path / "tables.tex").write_text(DOCUMENT % text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert result.returncode == 0, result.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000
