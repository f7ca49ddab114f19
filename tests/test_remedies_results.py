"""The committed comparison of remedies: its table follows from its rows, and the text has it."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from tiny_runs import ROOT

from analysis.remedies import remedies_table
from resnet_lab.runs.frames import load_runs

PLACE = ROOT / "results" / "why_remedies"


def test_the_committed_table_follows_from_the_committed_rows() -> None:
    made = remedies_table(load_runs(PLACE / "runs"))["remedies"]
    kept = pd.read_csv(PLACE / "tables" / "remedies.csv", keep_default_na=False, na_values=[""])
    assert list(kept["arm"]) == list(made["arm"])
    assert list(kept["n"]) == list(made["n"])
    numbers = list(made.select_dtypes("number"))
    assert kept[numbers].to_numpy(float) == pytest.approx(
        made[numbers].to_numpy(float), nan_ok=True
    )


def test_the_text_has_the_table_of_the_report() -> None:
    text = (ROOT / "docs" / "factorial.md").read_text("utf-8")
    [block] = re.findall(r"<!-- remedies: begin -->\n(.*?)<!-- remedies: end -->", text, re.S)
    assert block.strip() == (PLACE / "tables" / "remedies.md").read_text("utf-8").strip()
