"""resnet-lab report"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.source import HELP, read_source, strangers
from resnet_lab.cli.terminal import printable
from resnet_lab.files import user_path

FOREIGN = "a foreign folder: no run.json in it or below it"
LINK = "a link, which is not followed: report on the folder that it leads to"


def run(arguments: Sequence[str]) -> int:
    """Write the report of a directory of runs; print its table, its verdicts and its path."""
    parser = Parser("report", "Write figures, tables and verdicts of runs as one page.")
    parser.add_argument("runs", metavar="RUNS_DIR", help=HELP)
    parser.add_argument("--out", default="report", help="default: report")
    given = parser.parse_args(arguments)
    from analysis.claims import evaluate, format_verdicts
    from analysis.factorial_tables import factorial_text
    from analysis.remedies import remedies_text
    from analysis.report.write import write_report
    from analysis.search import apart_from_searches, split_searches
    from analysis.search_text import summary
    from analysis.tables import results_text

    runs = read_source(given.runs)
    out = user_path(given.out)
    foreign = [
        (str(path), LINK if path.is_symlink() else FOREIGN)
        for path in strangers(given.runs)
        if path.resolve() != out.resolve()  # which an earlier report may have written
    ]
    runs = replace(runs, skipped=[*runs.skipped, *foreign])
    verdicts = evaluate(runs)
    index = write_report(runs, out, verdicts)
    left_out = [f"left out: {path}: {reason}" for path, reason in runs.skipped]
    studies = ["\n".join(summary(one)) for one in split_searches(runs)]
    studies += [told(apart_from_searches(runs)) for told in (factorial_text, remedies_text)]
    blocks = [*studies, results_text(runs), format_verdicts(verdicts), "\n".join(left_out)]
    print(printable("\n\n".join(block for block in blocks if block)))
    print(f"\nreport: {index.resolve()}")
    return 0
