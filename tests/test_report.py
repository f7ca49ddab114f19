from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import as_runs, demo_runs, member

from analysis.figures import PLATES
from analysis.report import write_report
from analysis.tables import aligned, for_reading, mean_text, results_table, results_text
from resnet_lab.runs.frames import Runs

SKIPPED = [("runs/broken", "run.json or config.yaml lacks 'networks'")]


class Page(HTMLParser):
    """A page's elements as (tag, attributes) and its visible text; open elements must be closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    runs = replace(demo_runs(), skipped=SKIPPED)
    index = write_report(runs, tmp_path_factory.mktemp("report") / "out")
    return index, Page(index.read_text(encoding="utf-8"))


def test_the_page_is_index_html_with_figures_and_tables_beside_it(
    written: tuple[Path, Page],
) -> None:
    index, _ = written
    assert index.name == "index.html"
    figures = {path.name for path in (index.parent / "figures").iterdir()}
    assert figures == {f"{p.name}.{suffix}" for p in PLATES for suffix in ("png", "svg", "pdf")}
    tables = {path.name for path in (index.parent / "tables").iterdir()}
    names = ("results", "verdicts", "growth", "freezes", "members")
    assert tables == {f"{name}.csv" for name in names} | {"verdicts.json"}


def test_verdicts_come_first_with_their_numbers(written: tuple[Path, Page]) -> None:
    _, page = written
    cards = page.all("article")
    assert [one["data-claim"][0] for one in cards] == ["1", "2", "5", "7"]
    assert all("supported" in one["class"] for one in cards)
    evidence = (
        "plain-56 minus plain-8 training error 55.9 points, 95 % interval [52.0, 59.8], n = 3"
    )
    assert evidence in page.text
    assert page.text.index(evidence) < page.text.index("plain-56-x0.5")


def test_every_figure_is_inside_the_page(written: tuple[Path, Page]) -> None:
    index, page = written
    images = page.all("img")
    assert len(images) == len(PLATES)
    for image, plate in zip(images, PLATES, strict=True):
        kind, encoded = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        saved = (index.parent / "figures" / f"{plate.name}.svg").read_bytes()
        assert base64.b64decode(encoded) == saved
        assert image["alt"].startswith(plate.title)


def test_nothing_is_loaded_from_anywhere(written: tuple[Path, Page]) -> None:
    _, page = written
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    links = [one["href"] for one in page.all("a")]
    assert all(link.startswith(("#", "figures/")) for link in links)
    assert all(one["src"].startswith("data:") for one in page.all("img"))


def test_every_linked_file_and_anchor_exists(written: tuple[Path, Page]) -> None:
    index, page = written
    anchors = {one["id"] for _, one in page.elements if "id" in one}
    for link in (one["href"] for one in page.all("a")):
        assert link[1:] in anchors if link.startswith("#") else (index.parent / link).exists()


def test_results_provenance_and_skipped_runs_are_in_words(written: tuple[Path, Page]) -> None:
    _, page = written
    assert "plain-56-x0.5 3 56.10 ± 1.10" in page.text
    assert "3 runs, 18 trained networks, 3 seeds on digits" in page.text
    assert "cpu 2.11.0 3 38 1,600" in page.text  # device, torch, runs, seconds, images a second
    assert "runs/broken : run.json or config.yaml lacks 'networks'" in page.text


def test_results_as_csv_read_back_as_numbers(written: tuple[Path, Page]) -> None:
    index, _ = written
    table = pd.read_csv(index.parent / "tables" / "results.csv").set_index("network")
    assert table.loc["plain-56-x0.5", "train_mean"] == pytest.approx(56.1)
    assert table.loc["plain-56-x0.5", "train_sd"] == pytest.approx(1.1)
    growth = pd.read_csv(index.parent / "tables" / "growth.csv")
    assert growth["growth"].between(1.0, 1.3).all()


def test_names_from_outside_do_nothing(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    row = member("plain-8", study=attack, name=attack, data=attack, device=attack)
    broken = member("plain-20", study=attack, name=attack, data=attack, status="failed")
    other = member("plain-20", data="../../" + attack)
    runs = as_runs([row, broken, other], skipped=[(attack, attack)])
    page = Page(write_report(runs, tmp_path).read_text(encoding="utf-8"))
    assert page.all("script") == []
    assert page.text.count(attack) > 4
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "figures", "tables"}


def test_unfinished_members_are_named(tmp_path: Path) -> None:
    rows = [member("plain-8"), member("plain-20", 1, status="diverged", diverged_at=12)]
    page = Page(write_report(as_runs(rows, curves=False), tmp_path).read_text(encoding="utf-8"))
    assert "plain-20, seed 1, run-1: diverged at step 12" in page.text
    assert "plain-20 0 - - - seed 1 diverged at step 12" in page.text


def test_several_groups_are_reported_apart(tmp_path: Path) -> None:
    settings = {"lr": 0.1, "weight_decay": 1e-4}, {"lr": 0.01, "weight_decay": 1e-5}
    rows = [member(f"plain-{depth}", 0, **one) for depth in (8, 20) for one in settings]
    page = Page(write_report(as_runs(rows), tmp_path).read_text(encoding="utf-8"))
    assert len(page.all("table")) == 3  # two of results, one of provenance
    assert page.text.count("batch 128, lr 0.1") == 3  # results, figures and the verdict
    assert (tmp_path / "figures" / "error_vs_depth-digits-2.png").exists()


def test_a_report_without_runs_says_so(tmp_path: Path) -> None:
    runs = Runs(pd.DataFrame([]), as_runs([]).metrics, as_runs([]).layers, SKIPPED)
    page = Page(write_report(runs, tmp_path).read_text(encoding="utf-8"))
    assert "There are no runs here." in page.text
    assert "runs/broken" in page.text


def test_writing_again_replaces_the_page(tmp_path: Path) -> None:
    write_report(as_runs([member("plain-8")], curves=False), tmp_path)
    index = write_report(as_runs([member("plain-20")], curves=False), tmp_path)
    text = index.read_text(encoding="utf-8")
    assert "plain-20" in text
    assert "plain-8<" not in text


def test_results_stand_beside_published_ones_on_the_same_data() -> None:
    rows = [member("resnet-56", seed, 5.0 + seed, data="cifar10") for seed in range(3)]
    rows += [member("resnet-56-x0.5", 0, data="cifar10")]
    table = results_table(as_runs(rows)).set_index("network")
    assert table.loc["resnet-56", "published"] == "6.97"
    assert table.loc["resnet-56", "published_source"] == "R Table 6, 64k iterations"
    assert table.loc["resnet-56", "test_mean"] == pytest.approx(8.0)
    assert table.loc["resnet-56", "test_sd"] == pytest.approx(1.0)
    assert table.loc["resnet-56-x0.5", "published"] == ""


def test_one_seed_has_no_standard_deviation() -> None:
    row = results_table(as_runs([member("plain-8", 0, 3.25)])).iloc[0]
    assert np.isnan(row["train_sd"])
    assert mean_text(row["train_mean"], row["train_sd"]) == "3.25"


def test_members_that_did_not_finish_are_not_averaged() -> None:
    rows = [member("plain-8", 0, 4.0), member("plain-8", 1, 99.0, status="running")]
    row = results_table(as_runs(rows)).iloc[0]
    assert (row["n"], row["train_mean"]) == (1, 4.0)
    assert row["note"] == "seed 1 running"


def test_columns_without_values_are_not_shown() -> None:
    rows = [member("plain-8", 0, validation_error=np.nan)]
    shown = for_reading(results_table(as_runs(rows)))
    assert list(shown) == ["network", "n", "training error %", "test error %"]


def test_text_table_is_aligned() -> None:
    lines = results_text(demo_runs()).splitlines()
    assert lines[0].startswith("digits, protocol 1294/143")
    header, rule, *rows = lines[1:-1]
    assert " ".join(header.split()) == "network n training error % validation error % test error %"
    assert set(rule) == {"-"}
    assert {len(row) for row in rows} == {len(header)} == {len(rule)}
    row = " ".join(rows[2].split())
    assert row == "plain-56-x0.5 3 56.10 ± 1.10 57.10 ± 1.10 58.10 ± 1.10"


def test_text_without_runs_says_so() -> None:
    assert results_text(as_runs([])) == "no runs"


def test_sentences_are_set_to_the_left_and_numbers_to_the_right() -> None:
    frame = pd.DataFrame({"network": ["a", "bb"], "n": ["3", "12"], "note": ["seed 1 lost", ""]})
    assert aligned(frame).splitlines() == [
        "network   n  note",
        "------------------------",
        "a         3  seed 1 lost",
        "bb       12",
    ]


def test_analysis_imports_no_torch() -> None:
    code = "import sys, analysis.report, analysis.claims; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
