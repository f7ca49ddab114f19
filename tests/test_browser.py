"""The report in a real browser: at a desk, on a phone, printed, clicked and attacked."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import as_runs, demo_runs, member, recordings

from analysis.figures import PLATES
from analysis.report import write_report

pytest.importorskip("selenium", reason="no selenium: pip install 'resnet-lab[test]'")
from browser import browser, complaints, pdf, resize, value
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

DESK, PHONE = (1280, 900), (390, 844)
ATTACK = "<script>document.title='broken into'</script><img src=x onerror=\"document.title='in'\">"
TRACES = "document.getElementById('explorer-plot').data"
BUTTONS = "document.querySelectorAll('.modebar-btn')"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = replace(demo_runs(), skipped=[("runs/broken", "run.json cannot be read " + "x" * 300)])
    return write_report(runs, tmp_path_factory.mktemp("report"))


@pytest.fixture
def explorer(chrome: Chrome, report: Path) -> Chrome:
    opened(chrome, report, DESK)
    return explored(chrome)


def opened(chrome: Chrome, page: Path, size: tuple[int, int]) -> None:
    resize(chrome, *size, mobile=size == PHONE)
    chrome.get(page.as_uri())


def explored(chrome: Chrome) -> Chrome:
    """Open the explorer and wait until it has drawn."""
    chrome.find_element(By.ID, "explorer-open").click()
    WebDriverWait(chrome, 60).until(lambda driver: value(driver, f"({TRACES} || []).length") > 0)
    return chrome


def traces(chrome: Chrome) -> list[dict[str, Any]]:
    """Name, x and y of what the explorer has drawn."""
    found: list[dict[str, Any]] = value(chrome, f"{TRACES}.map(t => ({{name: t.name, y: t.y}}))")
    return found


def choose(chrome: Chrome, select: str, value: str) -> None:
    Select(chrome.find_element(By.ID, select)).select_by_value(value)


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_nothing_complains_or_overflows_and_every_figure_is_seen(
    chrome: Chrome, report: Path, size: tuple[int, int]
) -> None:
    opened(chrome, report, size)
    assert complaints(chrome) == []
    assert value(chrome, "innerWidth") == size[0]
    assert value(chrome, "document.documentElement.scrollWidth") <= size[0]
    images = value(
        chrome,
        "[...document.images].map(i => ({drawn: i.naturalWidth, wide: i.getBoundingClientRect()"
        ".width, right: i.getBoundingClientRect().right}))",
    )
    assert len(images) == len(PLATES) + 1
    for image in images:
        assert image["drawn"] > 0
        assert 300 <= image["wide"] <= image["right"] <= size[0]


def test_figures_are_not_smaller_than_they_were_drawn_for(chrome: Chrome, report: Path) -> None:
    opened(chrome, report, PHONE)
    least = value(chrome, "Math.min(...[...document.images].map(i => i.width / i.naturalWidth))")
    assert least >= 0.95  # a column is 3.3 inches, 317 pixels: type keeps its size


def test_the_explorer_begins_with_the_deepest_twins_at_step_0(explorer: Chrome) -> None:
    drawn = traces(explorer)
    assert [one["name"] for one in drawn] == ["plain-56, seed 0", "resnet-56, seed 0"]
    assert drawn[0]["y"][0] == pytest.approx(1.2**55, rel=1e-3)
    assert len(drawn[0]["y"]) == 56


def test_another_quantity_draws_other_values(explorer: Chrome) -> None:
    choose(explorer, "explorer-quantity", "weight_norm")
    assert set(traces(explorer)[0]["y"]) == {3}
    choose(explorer, "explorer-quantity", "response_std")
    assert len(traces(explorer)[0]["y"]) == 55  # every convolution, not the classifier
    assert complaints(explorer) == []


def test_another_step_by_keyboard_draws_that_step(explorer: Chrome) -> None:
    choose(explorer, "explorer-quantity", "relative_update")
    before = traces(explorer)[0]["y"][0]
    slider = explorer.find_element(By.ID, "explorer-step")
    for _ in range(5):
        slider.send_keys(Keys.ARROW_RIGHT)
    assert explorer.find_element(By.ID, "explorer-step-text").text == "16"
    after = traces(explorer)[0]["y"][0]
    assert (before, after) == (pytest.approx(0.1 * 1.2**55 / 3, rel=1e-3), 1e-9)


def test_a_click_on_a_network_adds_it(explorer: Chrome) -> None:
    label = "//*[@id='explorer-members']/label[contains(., 'plain-20, seed 1')]/input"
    box = explorer.find_element(By.XPATH, label)
    box.click()
    assert traces(explorer)[0]["name"] == "plain-20, seed 1"
    box.click()
    assert "plain-20, seed 1" not in [one["name"] for one in traces(explorer)]


def test_a_layer_over_steps_and_a_map(explorer: Chrome) -> None:
    choose(explorer, "explorer-view", "history")
    assert not explorer.find_element(By.ID, "explorer-step-row").is_displayed()
    assert traces(explorer)[0]["y"][0] == pytest.approx(1.2**55, rel=1e-3)
    choose(explorer, "explorer-view", "map")
    assert value(explorer, f"{TRACES}.map(t => t.type)") == ["heatmap", "heatmap"]
    assert value(explorer, f"{TRACES}[0].z.length") == 56
    assert complaints(explorer) == []


def test_a_quantity_of_the_whole_network_is_a_curve(chrome: Chrome, tmp_path: Path) -> None:
    row = member("plain-8")
    layers = recordings(row)
    whole = layers[(layers["name"] == "stem.conv") & (layers["quantity"] == "weight_norm")]
    whole = whole.assign(
        quantity="total_gradient_norm", layer=0, name="", value=whole["step"] + 1.0
    )
    opened(chrome, write_report(as_runs([row], [pd.concat([layers, whole])]), tmp_path), DESK)
    explored(chrome)
    choose(chrome, "explorer-quantity", "total_gradient_norm")
    assert [one["y"] for one in traces(chrome)] == [whole["value"].tolist()]
    rows = [f"explorer-{name}-row" for name in ("view", "step", "layer")]
    assert not any(chrome.find_element(By.ID, one).is_displayed() for one in rows)
    choose(chrome, "explorer-quantity", "weight_norm")
    assert len(traces(chrome)[0]["y"]) == 8
    shown = [chrome.find_element(By.ID, one).is_displayed() for one in rows]
    assert shown == [True, True, False]
    assert complaints(chrome) == []


def test_the_explorer_fits_a_phone_in_every_view(chrome: Chrome, report: Path) -> None:
    opened(chrome, report, PHONE)
    explored(chrome)
    for view in ("profile", "history", "map"):
        choose(chrome, "explorer-view", view)
        assert value(chrome, "document.documentElement.scrollWidth") <= PHONE[0], view


def test_no_button_of_the_plot_sends_data_away(explorer: Chrome) -> None:
    # Plotly draws its buttons after the traces.
    WebDriverWait(explorer, 20).until(lambda driver: value(driver, f"{BUTTONS}.length") > 0)
    buttons = value(explorer, f"[...{BUTTONS}].map(b => b.dataset.title)")
    assert buttons == ["Zoom", "Pan", "Autoscale", "Download plot as a PNG"]
    assert value(explorer, "performance.getEntriesByType('resource').length") == 0


def test_names_from_runs_run_nothing(chrome: Chrome, tmp_path: Path) -> None:
    row = member("plain-20", study=ATTACK, name=ATTACK, data=ATTACK, device=ATTACK)
    odd = recordings(row)
    odd["name"] = odd["name"].where(odd["layer"] > 1, ATTACK)
    page = write_report(as_runs([row], [odd], skipped=[(ATTACK, ATTACK)]), tmp_path)
    opened(chrome, page, DESK)
    title = "Depth and shortcuts: what the runs say"
    explored(chrome)
    assert chrome.title == title
    assert complaints(chrome) == []
    assert value(chrome, f"{TRACES}[0].text[0]").startswith("layer 1: &lt;script&gt;")


def test_without_scripts_all_but_the_explorer_is_there(chrome: Chrome, report: Path) -> None:
    chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(chrome, report, DESK)
        assert "It needs JavaScript" in chrome.find_element(By.TAG_NAME, "noscript").text
        assert not chrome.find_element(By.ID, "explorer-controls").is_displayed()
        assert len(chrome.find_elements(By.TAG_NAME, "img")) == len(PLATES) + 1
    finally:
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_report_without_recordings_runs_no_script(chrome: Chrome, tmp_path: Path) -> None:
    page = write_report(as_runs([member("plain-8"), member("plain-20")]), tmp_path)
    opened(chrome, page, PHONE)
    assert value(chrome, "document.scripts.length") == 0
    assert complaints(chrome) == []
    assert page.stat().st_size < 1_000_000


def test_print_has_figures_and_tables_and_no_controls(
    chrome: Chrome, report: Path, tmp_path: Path
) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext: install poppler-utils")
    opened(chrome, report, DESK)
    file = tmp_path / "print.pdf"
    file.write_bytes(pdf(chrome))
    command = ["pdftotext", "-layout", str(file), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Training curves." in text
    assert "56.10 ± 1.10" in text
    assert "runs/broken" in text
    assert "logarithmic values" not in text


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_the_first_screen_holds_answer_and_figure(
    chrome: Chrome, report: Path, size: tuple[int, int]
) -> None:
    opened(chrome, report, size)
    boxes = [
        chrome.find_element(By.CSS_SELECTOR, one).rect for one in ("h1", ".answer", ".hero img")
    ]
    assert all(box["y"] + box["height"] <= size[1] for box in boxes)
    assert "56 plain layers end at 56.1" in chrome.find_element(By.TAG_NAME, "h1").text


def test_the_page_is_small_until_the_explorer_is_opened(chrome: Chrome, report: Path) -> None:
    opened(chrome, report, DESK)
    assert report.stat().st_size < 3_500_000
    assert value(chrome, "typeof Plotly") == "undefined"
    explored(chrome)
    assert value(chrome, "typeof Plotly") == "object"
    assert complaints(chrome) == []


def test_all_steps_share_an_axis_and_play_steps_through_them(explorer: Chrome) -> None:
    axis = "document.getElementById('explorer-plot').layout.yaxis.range"
    before = value(explorer, axis)
    explorer.find_element(By.ID, "explorer-play").click()
    step = explorer.find_element(By.ID, "explorer-step")
    last = step.get_attribute("max")
    WebDriverWait(explorer, 60).until(lambda _: step.get_attribute("value") == last)
    play = explorer.find_element(By.ID, "explorer-play")
    WebDriverWait(explorer, 20).until(lambda _: play.text == "Play")
    assert value(explorer, axis) == before
    assert before[0] < before[1]
