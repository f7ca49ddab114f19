"""Numbers that the README and other texts quote, against results/ and against their formulas."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.claims.project.dose import DOSE
from analysis.claims.registry import evaluate_claims
from analysis.statistics import t_interval, together_text
from resnet_lab.runs.frames import load_runs

ROOT = Path(__file__).parents[1]
README = " ".join((ROOT / "README.md").read_text("utf-8").split())
GROWTH = math.sqrt(math.pi / (math.pi - 1))
TEXTS = (".py", ".md", ".yaml", ".html")


def table(study: str, name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / study / "tables" / f"{name}.csv")


def tracked() -> list[Path]:
    """Every text file of the project but this one."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = [ROOT / line for line in listed.splitlines() if line.endswith(TEXTS)]
    return [one for one in paths if one.exists() and one != Path(__file__).resolve()]


def test_the_theorys_growth_is_that_of_its_formula_wherever_it_is_quoted() -> None:
    quoted = []
    for path in tracked():
        text = re.sub(r"[\"'\s#|`f{}]+", " ", path.read_text("utf-8"))
        found = re.findall(r"sqrt\(pi / \(pi - 1\)\) = (\d\.\d+)", text)
        quoted += [(path.name, number) for number in found]
        assert "1.2115" not in text, path
    assert len(quoted) >= 6
    for name, number in quoted:
        digits = len(number.split(".")[1])
        assert number == f"{GROWTH:.{digits}f}", name


def test_the_readmes_stems_are_those_of_the_recorded_runs() -> None:
    lowest = table("cifar10_freeze", "freezes").query("name == 'stem.conv'").set_index("network")
    rows = re.findall(r"\| (\d+) \| (\d\.\de-\d+) \| (\d\.\de-\d+) \|", README)
    assert [depth for depth, *_ in rows] == ["20", "56", "110"]
    for depth, *cells in rows:
        for family, cell in zip(("plain", "resnet"), cells, strict=True):
            assert f"{lowest.loc[f'{family}-{depth}-fanout', 'lowest']:.1e}" == cell


def test_the_readmes_growth_is_that_of_the_recorded_runs_first_and_third_stage() -> None:
    growth = table("cifar10_freeze", "growth").set_index(["network", "stage"])["growth"]
    first, third = (
        [f"{growth[f'plain-{depth}-fanout', stage]:.2f}" for depth in (20, 56, 110)]
        for stage in (1, 3)
    )
    assert "by {} (20 layers), {} (56) and {} (110) a layer over stage 1".format(*first) in README
    assert f"less over stage 3 ({', '.join(third)})" in README


@pytest.mark.parametrize("network", ["plain-20", "plain-56", "resnet-20", "resnet-56"])
def test_the_readmes_table_of_cifar_is_that_of_the_recorded_runs(network: str) -> None:
    row = table("cifar10_quick", "results").set_index("network").loc[network]
    cells = [f"{row[f'{split}_mean']:.2f}" for split in ("train", "validation", "test")]
    assert f"| {network} | {' | '.join(cells)} |" in README


def test_the_readmes_intervals_are_recorded_and_say_what_they_are_corrected_for() -> None:
    rows = table("fair_tuning_digits", "tuning_effects").query("split == 'train'")
    rows = rows.set_index("comparison")
    deeper, twin = rows.loc["plain-56 minus plain-8"], rows.loc["resnet-56 minus plain-56"]
    assert (deeper["comparisons"], twin["comparisons"]) == (2, 1)
    rates = table("fair_tuning_digits", "tuning_rates").query("split == 'train' and lr == 0.1")
    sd = float(rates.set_index("short").loc["plain-56", "sd"])  # plain-8, resnet-56: 0 in each seed
    for row in (deeper, twin):
        low, high = t_interval(row["mean"], sd, 3, 1 - 0.05 / row["comparisons"])
        assert (float(low), float(high)) == pytest.approx((row["low"], row["high"]), abs=1e-6)
        assert f"[{row['low']:.1f}, {row['high']:.1f}]" in README
    corrected = re.findall(r"\[46\.2, 70\.4\].{0,160}", README)
    alone = re.findall(r"\[-66\.7, -49\.9\].{0,30}", README)
    assert len(corrected) == len(alone) == 2
    assert all("97.5 %" in text for text in corrected)
    assert all("95 %" in text for text in alone)


def test_a_correction_is_said_with_its_number_of_comparisons() -> None:
    assert together_text(1) == "not corrected: one comparison"
    assert together_text(2) == "corrected for 2 comparisons: together 95 %, each 97.5 %"
    assert together_text(3).endswith("each 98.33 %")


def test_the_doses_in_readme_and_docs_are_those_of_the_recorded_runs() -> None:
    doses = table("why_dose", "doses").query("predicted > 1").sort_values("predicted")
    plain = doses[doses["family"] == "plain"].groupby("predicted")
    errors = [f"{one:.1f}" for one in plain["error"].mean()]
    growths = [f"{one:.3f}" for one in plain["error"].mean().index]
    assert f"a predicted {', '.join(growths[:-1])} and {growths[-1]} a layer" in README
    assert f"ends at {', '.join(errors[:-1])} and {errors[-1]} % training error" in README
    assert set(plain["seed"].nunique()) == {5}
    assert doses.loc[doses["family"] == "residual", "error"].max() == 0
    page = (ROOT / "docs/why.md").read_text("utf-8")
    for growth, part in plain:
        cells = f"{growth:.4f} | {part['measured'].mean():.3f}"
        assert f"| {cells} | {part['error'].mean():.1f} ± {part['error'].std():.1f} |" in page


def test_the_doses_verdict_is_that_of_the_committed_rows() -> None:
    (found,) = evaluate_claims(load_runs(ROOT / "results/why_dose/runs"), [DOSE])
    assert (found.verdict, found.n) == ("supported", 5)
    interval = f"[{found.low:.2f}, {found.high:.2f}]"
    assert f"{found.effect:.2f} points for each percent of growth a layer" in README
    assert interval in README
    assert interval in (ROOT / "docs/why.md").read_text("utf-8")
