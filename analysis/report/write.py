"""Write the report: index.html, figures/ (PNG, SVG, PDF) and tables/ (CSV, JSON)."""

from __future__ import annotations

from pathlib import Path

from analysis.claims import Verdict, evaluate_claims, verdicts_frame, verdicts_json
from analysis.figures import draw_all, draw_tunings, save_all
from analysis.layer_dynamics import freezes, growth
from analysis.report.page import render
from analysis.tables import results_table, tuning_tables
from resnet_lab.runs.frames import Runs


def write_report(runs: Runs, out: Path, verdicts: list[Verdict] | None = None) -> Path:
    """Write everything that `runs` support into `out` and return the path of its index.html.

    The page needs no network and no other file: figures are inside it. Writing again into the
    same folder replaces what it shows. `verdicts` are those of `evaluate_claims`, if at hand.
    """
    verdicts = evaluate_claims(runs) if verdicts is None else verdicts
    drawings = [*draw_tunings(runs), *draw_all(runs)]
    save_all(drawings, out / "figures")
    write_tables(runs, verdicts, out / "tables")
    images = {
        drawing.name: (out / "figures" / f"{drawing.name}.svg").read_bytes() for drawing in drawings
    }
    index = out / "index.html"
    index.write_text(render(runs, verdicts, drawings, images), encoding="utf-8")
    return index


def write_tables(runs: Runs, verdicts: list[Verdict], folder: Path) -> None:
    """Write results, verdicts, growth at step 0, frozen layers and all members as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "results": results_table(runs),
        "verdicts": verdicts_frame(verdicts),
        "growth": growth(runs.layers),
        "freezes": freezes(runs.layers),
        "members": runs.runs,
        **tuning_tables(runs),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "verdicts.json").write_text(verdicts_json(verdicts) + "\n", encoding="utf-8")
