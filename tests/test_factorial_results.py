"""The committed factorial study: its tables follow from its rows, and the text quotes them."""

from __future__ import annotations

import re
from functools import cache

import pandas as pd
import pytest
from tiny_runs import ROOT

from analysis.factorial import Factorial
from analysis.factorial_answer import answer
from analysis.factorial_design import split_factorials
from analysis.factorial_tables import factorial_tables
from resnet_lab.runs.frames import Runs, load_runs

PLACE = ROOT / "results" / "why_factorial"
TEXT = (ROOT / "docs" / "factorial.md").read_text("utf-8")


@cache
def runs() -> Runs:
    return load_runs(PLACE / "runs")


@cache
def study() -> Factorial:
    [found] = split_factorials(runs())
    return found


@pytest.mark.parametrize("name", ["cells", "effects", "mediators", "roles"])
def test_a_committed_table_follows_from_the_committed_rows(name: str) -> None:
    made = factorial_tables(runs())[f"factorial_{name}"]
    kept = pd.read_csv(PLACE / "tables" / f"factorial_{name}.csv", dtype={"cell": str})
    assert list(kept) == list(made)
    texts = made.select_dtypes(exclude="number").fillna("")
    pd.testing.assert_frame_equal(
        kept[list(texts)].fillna(""), texts.reset_index(drop=True), check_dtype=False
    )
    numbers = list(made.select_dtypes("number"))
    assert kept[numbers].to_numpy(float) == pytest.approx(
        made[numbers].to_numpy(float), nan_ok=True
    )


def test_the_design_is_complete() -> None:
    assert (study().seeds, study().missing, study().left_out) == ([0, 1, 2, 3, 4], [], [])
    assert [one.name for one in study().factors] == ["dirac", "leaky0.3", "clip 0.1"]
    assert len(study().members) == 40
    assert len(study().twins) == 5


@pytest.mark.parametrize("name", ["cells", "roles"])
def test_the_text_has_the_tables_of_the_report(name: str) -> None:
    [block] = re.findall(rf"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", TEXT, re.S)
    assert block.strip() == (PLACE / "tables" / f"factorial_{name}.md").read_text("utf-8").strip()


def test_the_text_has_the_answer_of_the_report() -> None:
    assert answer(study()) in " ".join(TEXT.replace("\n> ", " ").split())
