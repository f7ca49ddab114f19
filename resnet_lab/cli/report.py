"""resnet-lab report"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from resnet_lab.cli.parsing import Parser

FOREIGN = "a foreign folder: no run.json in it or below it"


def run(arguments: Sequence[str]) -> int:
    """Write the report of a directory of runs; print its table, its verdicts and its path."""
    parser = Parser("report", "Write figures, tables and verdicts of runs as one page.")
    parser.add_argument("runs", metavar="RUNS_DIR", help="a folder with run directories")
    parser.add_argument("--out", default="report", help="default: report")
    given = parser.parse_args(arguments)
    from analysis.claims import evaluate_claims, format_verdicts
    from analysis.report.write import write_report
    from analysis.tables import results_text
    from resnet_lab.runs.frames import load_runs

    runs = load_runs(given.runs)
    out = Path(given.out)
    strangers = [(str(path), FOREIGN) for path in foreign(Path(given.runs), out)]
    runs = replace(runs, skipped=[*runs.skipped, *strangers])
    verdicts = evaluate_claims(runs)
    index = write_report(runs, out, verdicts)
    print(results_text(runs))
    print()
    print(format_verdicts(verdicts))
    for path, reason in runs.skipped:
        print(f"left out: {path}: {reason}")
    print(f"\nreport: {index.resolve()}")
    return 0


def foreign(root: Path, report: Path) -> Iterator[Path]:
    """Yield the folders among run directories and studies that are neither.

    Hidden folders and `report`, where this command writes, are passed over.
    """
    holds_runs = {parent for file in root.rglob("run.json") for parent in file.parents}
    runs = {file.parent for file in root.rglob("run.json")}
    for folder in sorted(each for each in holds_runs - runs if each.is_relative_to(root)):
        for path in sorted(folder.iterdir()):
            passed = path.name.startswith(".") or path.resolve() == report.resolve()
            if path.is_dir() and path not in holds_runs and not passed:
                yield path
