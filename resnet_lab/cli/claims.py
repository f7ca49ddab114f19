"""resnet-lab claims"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_lab.cli.parsing import Parser


def run(arguments: Sequence[str]) -> int:
    """Print the verdict, effect, interval and n of each claim."""
    parser = Parser("claims", "Which of the paper's claims do the runs support?")
    parser.add_argument("runs", metavar="RUNS_DIR", help="a folder with run directories")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    given = parser.parse_args(arguments)
    from analysis.claims import evaluate_claims, format_verdicts, verdicts_json
    from resnet_lab.runs.frames import load_runs

    verdicts = evaluate_claims(load_runs(given.runs))
    print(verdicts_json(verdicts) if given.json else format_verdicts(verdicts))
    return 0
