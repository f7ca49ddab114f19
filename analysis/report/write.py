"""Write the report: index.html, figures/ (PNG, SVG, PDF) and tables/ (CSV, Markdown, LaTeX)."""

from __future__ import annotations

from pathlib import Path

from analysis.claims import Verdict, evaluate, verdicts_frame, verdicts_json
from analysis.export import paper_tables, write_exports
from analysis.factorial_tables import factorial_tables
from analysis.figures import (
    draw_all,
    draw_answer,
    draw_doses,
    draw_factorials,
    draw_searches,
    draw_tunings,
    save_all,
)
from analysis.layer_dynamics import freezes, growth
from analysis.pairs import pairs_table
from analysis.remedies import remedies_table
from analysis.report.page import render
from analysis.scoreboard import scoreboard
from analysis.search import apart_from_searches, split_searches
from analysis.tables import dose_tables, results_table, search_tables, tuning_tables
from resnet_lab.files import user_path
from resnet_lab.runs.frames import Runs


def write_report(runs: Runs, out: Path, verdicts: list[Verdict] | None = None) -> Path:
    """Write the report on `runs` into `out` and return the path of its index.html.

    The page needs no internet and no other file, as figures are embedded. Writing again into the
    same folder replaces the report. `verdicts` are those of `evaluate`, if already computed.
    """
    out = user_path(out)
    verdicts = evaluate(runs) if verdicts is None else verdicts
    searches = split_searches(runs)
    apart = apart_from_searches(runs)
    drawings = [
        *draw_answer(runs),
        *draw_doses(runs),
        *draw_factorials(apart),
        *draw_tunings(apart),
        *draw_searches(searches),
        *draw_all(apart),
    ]
    save_all(drawings, out / "figures")
    write_tables(runs, verdicts, out / "tables")
    images = {
        drawing.name: (out / "figures" / f"{drawing.name}.svg").read_bytes() for drawing in drawings
    }
    index = out / "index.html"
    index.write_text(render(runs, verdicts, drawings, images, searches), encoding="utf-8")
    return index


def write_tables(runs: Runs, verdicts: list[Verdict], folder: Path) -> None:
    """Write results, scoreboard, pairs, verdicts, growth at step 0, frozen layers, members as CSV.

    The page's tables are also written as Markdown and LaTeX.
    """
    folder.mkdir(parents=True, exist_ok=True)
    searches = split_searches(runs)
    apart = apart_from_searches(runs)
    tables = {
        "results": results_table(apart),
        "scoreboard": scoreboard(runs),
        "pairs": pairs_table(runs),
        "verdicts": verdicts_frame(verdicts),
        "growth": growth(runs.layers),
        "freezes": freezes(runs.layers),
        "members": runs.runs,
        **dose_tables(runs),
        **factorial_tables(apart),
        **remedies_table(apart),
        **tuning_tables(apart),
        **search_tables(searches),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    write_exports(paper_tables(runs, verdicts), folder)
    (folder / "verdicts.json").write_text(verdicts_json(verdicts) + "\n", encoding="utf-8")
