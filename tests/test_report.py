from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import as_runs, demo_runs, member, recordings
from tiny_runs import info, tiny

from analysis.figures import PLATES
from analysis.report import explorer, scripts, write_report
from analysis.tables import aligned, for_reading, mean_text, results_table, results_text
from resnet_lab.cli import main
from resnet_lab.runs.frames import Runs
from resnet_lab.training.train import train
from resnet_lab.yaml_json import dump_yaml

SKIPPED = [("runs/broken", "run.json or config.yaml lacks 'networks'")]


class Page(HTMLParser):
    """A page's elements as (tag, attributes) and its visible text; open elements must be closed."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input", "source"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
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
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
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
    drawn = ["answer", "answer_narrow", *(plate.name for plate in PLATES)]
    assert figures == {f"{name}.{suffix}" for name in drawn for suffix in ("png", "svg", "pdf")}
    tables = {path.name for path in (index.parent / "tables").iterdir()}
    names = ("results", "verdicts", "growth", "freezes", "members")
    paper = {f"{name}.{suffix}" for name in ("results", "verdicts") for suffix in ("md", "tex")}
    assert {*(f"{name}.csv" for name in names), "verdicts.json", *paper} <= tables


def test_verdicts_come_first_with_their_numbers(written: tuple[Path, Page]) -> None:
    _, page = written
    cards = {one["data-claim"].split("-")[0]: one["class"] for one in page.all("article")}
    assert all("supported" in cards[number] for number in "1257")
    classes = [one["class"] for one in page.all("article")]
    tested = ["not-tested" not in one for one in classes]
    assert tested == sorted(tested, reverse=True)
    evidence = (
        "plain-56 minus plain-8 training error 55.9 points, 95 % interval [52.0, 59.8], n = 3"
    )
    assert evidence in page.text
    assert page.text.index(evidence) < page.text.index("plain-56-x0.5")


def test_every_figure_is_inside_the_page(written: tuple[Path, Page]) -> None:
    index, page = written
    images = page.all("img")
    titles = {"answer": "Training error", **{plate.name: plate.title for plate in PLATES}}
    assert len(images) == len(titles)
    for image, (name, title) in zip(images, titles.items(), strict=True):
        kind, encoded = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        saved = (index.parent / "figures" / f"{name}.svg").read_bytes()
        assert base64.b64decode(encoded) == saved
        assert image["alt"].startswith(title)


def test_the_first_screen_answers_and_verdicts_are_chips(written: tuple[Path, Page]) -> None:
    _, page = written
    assert (
        "56 plain layers end at 56.1 % training error on 1,294 images of digits. The same "
        "layers with shortcuts end at 0.0 %. plain-56 minus resnet-56: 56.1 points of training"
        " error, 95 % interval [53.4, 58.8], n = 3."
    ) in page.text
    chips = [one for one in page.all("a") if "chip" in one.get("class", "")]
    tested = [one for one in page.all("article") if "not-tested" not in one["class"]]
    assert [one["href"][1:] for one in chips] == [one["id"] for one in tested]
    assert [one["class"].split()[1] for one in chips] == [one["class"].split()[1] for one in tested]
    assert page.text.index("n = 3. plain-56 ends highest") < page.text.index("Provenance device")


def test_nothing_is_loaded_from_anywhere(written: tuple[Path, Page]) -> None:
    _, page = written
    assert page.all("link") == page.all("iframe") == []
    assert [one for one in page.all("script") if "src" in one] == []
    links = [one["href"] for one in page.all("a")]
    assert all(link.startswith(("#", "figures/")) for link in links)
    assert all(one["src"].startswith("data:") for one in page.all("img"))


def test_only_the_scripts_that_the_policy_names_can_run(written: tuple[Path, Page]) -> None:
    _, page = written
    data, plotly, own = page.scripts
    kinds = [one.get("type") for one in page.all("script")]
    assert kinds == ["text/plain", "text/plain", None]
    programs = [own, gzip.decompress(base64.b64decode(plotly)).decode()]
    assert json.loads(gzip.decompress(base64.b64decode(data)))["groups"] == [
        "digits, protocol 1294/143, 160 iterations, batch 128, lr 0.1, width x0.5"
    ]
    contents = [one["content"] for one in page.all("meta") if "content" in one]
    policy = next(text for text in contents if "src" in text)
    digests = [hashlib.sha256(text.encode()).digest() for text in programs]
    hashes = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    assert policy.split("; ")[-1] == f"script-src {hashes}"
    assert policy.startswith("default-src 'none'; ")


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
    captions = [one["aria-label"] for one in page.all("div") if "aria-label" in one]
    assert [text.split(",")[0] for text in captions] == [
        "Results",
        "Results",
        "Published numbers without runs",
        "Provenance",
    ]
    assert "degradation undecided 2" in page.text
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
    mean, seeds = (" ".join(row.split()) for row in rows[4:6])
    assert mean == "plain-56-x0.5 3 56.10 ± 1.10 57.10 ± 1.10 58.10 ± 1.10"
    assert seeds == ("each seed 55.00, 56.10, 57.20 56.00, 57.10, 58.20 57.00, 58.10, 59.20")


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


def explored(runs: Runs) -> tuple[dict[str, Any], str]:
    found = explorer.explorer(runs)
    assert found is not None
    return json.loads(found.data), found.note


def test_the_explorer_holds_every_member_quantity_and_layer() -> None:
    content, note = explored(demo_runs())
    assert note == ""
    labels = [one["label"] for one in content["members"]]
    assert labels[0] == "plain-8, seed 0"
    assert len(labels) == 18
    quantities = [one["id"] for one in content["quantities"]]
    assert quantities == [
        *("gradient_norm", "relative_update", "weight_norm", "update_angle", "response_std"),
        *("representation_cosine", "gradient_correlation"),
    ]
    norms = content["members"][2]["values"]["gradient_norm"]
    assert norms["layers"] == list(range(1, 9))  # projections are not of the main path
    assert norms["names"][0] == "stem.conv"
    assert norms["steps"][:4] == [0, 1, 2, 4]
    assert norms["rows"][0][0] == float(f"{1.206**7:.4g}")


def test_an_explorer_that_would_be_too_large_says_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(explorer, "MOST_NUMBERS", 6000)
    content, note = explored(demo_runs())
    assert [one["label"] for one in content["members"]] == [
        f"{family}-{depth}, seed 0" for family in ("plain", "resnet") for depth in (8, 20, 56)
    ]
    steps = content["members"][0]["values"]["weight_norm"]["steps"]
    assert (steps[0], steps[-1]) == (0, 159)
    numbers = sum(
        len(row)
        for one in content["members"]
        for table in one["values"].values()
        for row in table["rows"]
    )
    assert numbers < 1.2 * 6000
    assert note == (
        "To keep the page small it holds 6 of 18 members: the first seed of each network and one "
        "recorded step of 3."
    )


def test_values_that_are_no_numbers_and_names_that_end_scripts_are_safe() -> None:
    row = member("plain-8")
    layers = recordings(row)
    layers.loc[layers["step"] == 1, "value"] = np.inf
    layers.loc[layers["layer"] == 2, "name"] = "</script><!--&"
    found = explorer.explorer(as_runs([row], [layers]))
    assert found is not None
    assert not set("<>&") & set(found.data)
    norms = json.loads(found.data)["members"][0]["values"]["weight_norm"]
    assert norms["names"][1] == "</script><!--&"
    assert norms["rows"][1] == [None] * 8
    assert norms["rows"][2] == [3.0] * 8


def test_a_script_that_would_end_its_element_is_refused() -> None:
    with pytest.raises(ValueError, match="ends a script element"):
        scripts.inline("var a = '</SCRIPT>'")


def trial(number: int, **settings: Any) -> dict[str, Any]:
    """One run of a search: the learning rate doubles from trial to trial, so does the error."""
    rate = 0.001 * 2**number
    row = member("plain-20", 0, 1000 * rate, lr=rate, momentum=0.5 + 0.01 * (number * 7 % 11))
    created = f"2026-01-01T00:00:{number:02d}+00:00"
    return {**row, "run": f"{number:016x}", "name": f"t{number}", "created": created, **settings}


def test_a_search_is_one_section_with_its_trials_not_a_group_a_run(tmp_path: Path) -> None:
    rows = [trial(number) for number in range(6)]
    rows[4]["status"] = "stopped"
    runs = replace(as_runs(rows), runs=pd.DataFrame(rows))
    page = Page(write_report(runs, tmp_path).read_text(encoding="utf-8"))
    assert [path.name for path in (tmp_path / "figures").glob("*.png")] == ["search.png"]
    assert "6 trials: 5 finished, 1 stopped early; " in page.text
    assert "The best is trial 0: validation error 2.00 %; lr 0.001, momentum 0.5." in page.text
    assert "trial validation error % lr momentum run 0 2.00 0.001 0.5 t0 1 3.00" in page.text
    assert page.all("ul") == []  # a trial that was stopped early is no failure
    trials = pd.read_csv(tmp_path / "tables" / "trials.csv")
    assert list(trials["lr"]) == [0.001 * 2**number for number in range(6)]


def test_the_scoreboard_has_our_numbers_and_the_rest_apart(tmp_path: Path) -> None:
    rows = [member("resnet-20", 0, 5.0, data="cifar10", protocol="45k/5k")]
    page = Page(write_report(as_runs(rows), tmp_path).read_text(encoding="utf-8"))
    board = pd.read_csv(tmp_path / "tables" / "scoreboard.csv")
    own = board[(board["network"] == "resnet-20") & (board["data"] == "cifar10")]
    assert 8.75 in list(own["paper_error"])
    unrun = int((board["verdict"] == "not run").sum())
    assert f"{unrun} of {len(board)} published numbers have no runs beside them" in page.text


def test_foreign_broken_running_and_diverged_entries_are_named_and_the_rest_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = train(tiny(trainer={"progress": False}))
    copies = {name: good.parent / name for name in ("running", "diverged", "broken", "older")}
    for number, copy in enumerate(copies.values(), start=1):
        shutil.copytree(good, copy)
        config = tiny(seed=number, trainer={"progress": False})
        (copy / "config.yaml").write_text(dump_yaml(config.as_dict()))
        known = {"run": config.run_id(), "identity": config.identity().content}
        change(copy, **known, name=copy.name, seed=number)
    change(copies["running"], status="running")
    lost = info(copies["diverged"])["networks"]
    lost[0].update(status="diverged", diverged_at=7)
    change(copies["diverged"], networks=lost)
    change(copies["older"], format=0)
    (copies["broken"] / "run.json").write_text('{"format": 1, "run"')
    foreign = good.parent / "lightning_logs" / "version_0"
    foreign.mkdir(parents=True)
    (foreign / "hparams.yaml").write_text("lr: 0.1\n")
    (good.parent / "link").symlink_to(".")
    assert main(["report", "runs", "--out", "runs/report"]) == 0
    assert main(["report", "runs", "--out", "runs/report"]) == 0  # its own folder is not foreign
    printed = capsys.readouterr().out
    page = Page(Path("runs/report/index.html").read_text(encoding="utf-8"))
    for text in (printed, page.text):
        assert re.search("runs/lightning_logs ?: a foreign folder: no run.json", text)
        assert re.search("runs/link ?: a link, which is not followed", text)
        assert re.search("runs/broken ?: .*run.json cannot be read", text)
        assert re.search("runs/older ?: .*not of format 1", text)
        assert "runs/report" not in text.split("left out")[-1].split("report:")[0]
    assert "plain-8-x0.25, seed 2, diverged: diverged at step 7" in page.text
    assert page.text.count(", running: running") == 2
    assert "3 trained networks did not finish and 4 entries were skipped; the rest is used." in (
        page.text
    )
    assert "resnet-8-x0.25 2 " in page.text  # the good run, and the twin of the diverged one


def change(folder: Path, **values: Any) -> None:
    """Put other values into a run.json."""
    (folder / "run.json").write_text(json.dumps({**info(folder), **values}))


def test_analysis_imports_no_torch() -> None:
    code = "import sys, analysis.report, analysis.claims; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
