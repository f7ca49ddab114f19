"""resnet-lab doctor"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_lab.cli.parsing import Parser
from resnet_lab.cli.source import HELP, read_source, strangers, whereabouts
from resnet_lab.cli.terminal import printable


def run(arguments: Sequence[str]) -> int:
    """Print why runs may show no degradation, or what this machine can do."""
    parser = Parser(
        "doctor",
        "With a folder of runs: why may a pair show no degradation? Without: what can this "
        "machine do?",
    )
    parser.add_argument("runs", nargs="?", metavar="RUNS_DIR", help=HELP)
    parser.add_argument("--data-dir", help="default: $RESNET_LAB_DATA, else ~/.cache/resnet_lab")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    given = parser.parse_args(arguments)
    if given.runs is None:
        print(_machine(given.data_dir, given.json))
    else:
        told = [_runs(given.runs, given.json), *(() if given.json else whereabouts(given.runs))]
        print(printable("\n".join(told)))
    return 0


def _runs(source: str, as_json: bool) -> str:
    from analysis.claims import evaluate_claims, own_claims
    from analysis.doctor import examination_json, examination_text, examine
    from analysis.doctor.searches import examine_searches

    runs = read_source(source)
    told = examination_json if as_json else examination_text
    foreign = [str(path) for path in strangers(source)]
    own = evaluate_claims(runs, own_claims())
    return told(examine(runs), runs.skipped, foreign, examine_searches(runs), own)


def _machine(data_dir: str | None, as_json: bool) -> str:
    from resnet_lab.machine import facts_json, facts_text, machine_facts

    facts = machine_facts(data_dir)
    return facts_json(facts) if as_json else facts_text(facts)
