"""resnet-lab claims"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.source import HELP, read_source
from resnet_lab.cli.terminal import printable


def run(arguments: Sequence[str]) -> int:
    """Print verdict, effect, interval and n of each pair and claim, or the papers' numbers."""
    parser = Parser(
        "claims",
        "What do the runs say of each plain network and its residual twin, and which of the "
        "paper's claims do they support?",
    )
    parser.add_argument("runs", metavar="RUNS_DIR", help=HELP)
    parser.add_argument("--why", action="store_true", help="the reasoning below each verdict")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument(
        "--scoreboard", action="store_true", help="the papers' numbers beside these, cell by cell"
    )
    given = parser.parse_args(arguments)
    if given.scoreboard and given.why:
        parser.error("--why explains verdicts, and --scoreboard has none: give one of the two")
    if given.scoreboard:
        told = scoreboard(given.runs, given.json)
    else:
        told = claims(given.runs, given.json, given.why)
    print(printable(told))
    return 0


def claims(folder: str, machine: bool, why: bool = False) -> str:
    """Return the verdicts on the runs in `folder` as text, or as JSON for a `machine`.

    `why` adds the reasoning to the text; JSON has it always.
    """
    from analysis.claims import evaluate, format_verdicts, verdicts_json
    from analysis.search import split_searches
    from analysis.search_text import aside

    runs = read_source(folder)
    verdicts = evaluate(runs)
    if machine:
        return verdicts_json(verdicts)
    searched = [aside(one) for one in split_searches(runs)]
    return "\n\n".join([*searched, format_verdicts(verdicts, why)])


def scoreboard(folder: str, machine: bool) -> str:
    """Return the published numbers beside the runs in `folder` as text, or as JSON."""
    from analysis.scoreboard import scoreboard as compared
    from analysis.scoreboard import scoreboard_json, scoreboard_text

    cells = compared(read_source(folder))
    return scoreboard_json(cells) if machine else scoreboard_text(cells)
