"""docs/claims.md: its example runs, its table is the registry, its power is computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from synthetic_runs import demo_runs

import resnet_lab as rl
from analysis.claims import ALPHA, CLAIMS, PAIR, evaluate_claims
from analysis.claims.text import overturned_table
from analysis.claims.thresholds import THRESHOLDS, thresholds_table
from analysis.statistics import detectable
from resnet_lab.cli import main
from resnet_lab.parts import files

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
RUNS = str(ROOT / "results/cifar10_quick/runs")


def test_the_example_of_a_new_claim_is_a_claim_that_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    Path("mine.py").write_text(code)
    rl.load_parts("mine.py")
    try:
        found = evaluate_claims(demo_runs())[-1]
    finally:
        files.forget_files()
    assert (found.id, found.verdict, found.n) == ("gain-at-20", "supported", 3)
    assert found.effect == pytest.approx(2.9 * 1.02)


def test_every_claim_stands_in_the_table_with_its_sweep() -> None:
    rules = PAGE.split("## Rules")[1].split("## ")[0]
    rows = dict(re.findall(r"^\| `(\d+-[\w-]+)` \|.*\| (.*) \|$", rules, flags=re.MULTILINE))
    assert list(rows) == [claim.id for claim in CLAIMS]
    for claim in CLAIMS:
        named = [
            file.removeprefix("sweeps/") for file in re.findall(r"sweeps/\S+yaml", claim.sweep)
        ]
        assert re.findall(r"\w+\.yaml", rows[claim.id]) == named
        assert ("more seeds" in rows[claim.id]) == ("more seeds" in claim.sweep)


def test_the_thresholds_on_the_page_are_those_of_the_code() -> None:
    body = PAGE.split("<!-- thresholds: begin -->")[1].split("<!-- thresholds: end -->")[0]
    assert body.strip() == thresholds_table()


def test_the_page_says_of_every_claim_what_would_change_its_verdicts() -> None:
    body = PAGE.split("<!-- overturned: begin -->")[1].split("<!-- overturned: end -->")[0]
    assert body.strip() == overturned_table((*CLAIMS, PAIR))
    assert all(claim.overturned for claim in (*CLAIMS, PAIR))


def test_every_claim_has_its_thresholds_in_the_table() -> None:
    ids = {claim.id for claim in (*CLAIMS, PAIR)}
    assert {name for each in THRESHOLDS for name in each.claims} == ids


def test_the_power_table_is_computed() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.M)
    assert [int(row[0]) for row in rows] == [2, 3, 4, 5, 10]
    for n, *cells in rows:
        for comparisons, cell in zip((1, 2, 3, 5), cells, strict=True):
            level = 1 - ALPHA / comparisons
            assert float(cell) == pytest.approx(detectable(1.0, int(n), level), abs=0.006)


def test_the_command_line_prints_every_pair_and_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", RUNS]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[1].startswith(
        "shortcuts help at 20 layers: undecided (plain-20 minus resnet-20 training error 2.0 points"
    )
    assert "degradation: undecided (plain-56 minus plain-20 training error 38.7 points, n = 1" in (
        text
    )
    assert all(f"{claim.title}: " in text for claim in CLAIMS)
    assert main(["claims", RUNS, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["id"]: row["sweep"] for row in rows} == {
        one.id: one.sweep for one in (PAIR, *CLAIMS)
    }


def test_the_command_line_prints_the_scoreboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", RUNS, "--scoreboard"]) == 0
    text = capsys.readouterr().out
    assert "resnet-20, resnet-56: only by another protocol: protocol 45k/5k, not 50k; " in text
    assert main(["claims", RUNS, "--scoreboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["verdict"] for row in rows} == {"not run"}
