"""How long a sweep will take, by runs that were measured, and how it ends."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import info

from resnet_lab.cli import main
from resnet_lab.configuration.config import Config
from resnet_lab.networks.complexity import complexity
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.sweeps.duration import Clock, duration_in_words, measured_speeds, shared

PLAIN, RESIDUAL, DEEP = "plain-8-x0.25", "resnet-8-x0.25", "plain-20-x0.25"
SHORT = {
    "config": {"value": "digits.yaml"},
    "recipe.iterations": {"value": 4},
    "recipe.batch_size": {"value": 16},
    "recipe.warmup_steps": {"value": 0},
    "recipe.drops": {"value": []},
    "recording.enabled": {"value": False},
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.yaml").write_text("data:\n  name: digits\nrecipe:\n  warmup_lr: 0.01\n")


def sweep_file(parameters: dict[str, Any], **content: Any) -> str:
    whole = {"name": "study", "method": "grid", "parameters": {**SHORT, **parameters}, **content}
    Path("file.yaml").write_text(yaml.safe_dump(whole))
    return "file.yaml"


def plan(capsys: pytest.CaptureFixture[str], file: str, *flags: str) -> list[str]:
    assert main(["sweep", file, "--dry-run", *flags]) == 0
    return capsys.readouterr().out.splitlines()


def took(seconds: float) -> None:
    """Let every finished run have taken so long, as its run.json says."""
    for file in Path("runs").rglob("run.json"):
        content = json.loads(file.read_text())
        content["provenance"]["wall_seconds"] = seconds
        content.pop("sha256", None)
        file.write_text(json.dumps(content))


def test_hours_come_from_runs_of_the_study_or_of_others_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({"network": {"values": [PLAIN, RESIDUAL]}, "seed": {"values": [0, 1, 2]}})
    assert plan(capsys, file)[-1] == (
        f"time: nothing was measured yet of {PLAIN}, {RESIDUAL} with these settings"
    )
    assert main(["sweep", file, "--count", "1"]) == 0
    capsys.readouterr()
    took(1200.0)
    device = info(next(Path("runs/study").glob("plain*")))["provenance"]["device"]
    said = f"300 s an iteration on {device}, measured in 1 run of 4 iterations"
    # two plain runs of 1,200 s are left, by one worker and by two; nothing is known of the others
    assert plan(capsys, file)[-2:] == [
        f"time: about 40 minutes with 1 worker for 2 of these runs ({said} of this study)",
        f"time: nothing was measured yet of {RESIDUAL} with these settings",
    ]
    assert "time: about 20 minutes with 2 workers" in plan(capsys, file, "--workers", "2")[-2]
    elsewhere = plan(capsys, file, "--study", "other")
    assert elsewhere[-2] == (
        f"time: about 60 minutes with 1 worker for 3 of these runs ({said} elsewhere)"
    )
    # longer runs at another rate are as fast an iteration; other batches are not alike
    longer = plan(capsys, file, "--study", "longer", "--", "--recipe.iterations=8", "--recipe.lr=1")
    assert "time: about 2.0 hours with 1 worker for 3 of these runs" in longer[-2]
    batch = plan(capsys, file, "--study", "batch", "--", "--recipe.batch_size=32")
    assert batch[-1].startswith("time: nothing was measured yet of")


def test_a_search_costs_the_mean_of_its_networks(capsys: pytest.CaptureFixture[str]) -> None:
    probable = {
        "distribution": "categorical_w_probabilities",
        "values": [PLAIN, DEEP],
        "probabilities": [0.25, 0.75],
    }
    search: dict[str, Any] = {
        "method": "random",
        "run_cap": 8,
        "metric": {"name": "validation_error", "goal": "minimize"},
    }
    rest = {"data.test": {"value": False}, "recipe.lr": {"min": 0.01, "max": 1.0}}
    for networks, weights in (({"values": [PLAIN, DEEP]}, (0.5, 0.5)), (probable, (0.25, 0.75))):
        lines = plan(capsys, sweep_file({"network": networks, **rest}, **search))
        cheap, dear = map(float, re.findall(r"([\d.e+]+) for plain", lines[0]))
        mean = weights[0] * cheap + weights[1] * dear
        assert float(lines[0].split()[3]) == pytest.approx(mean, rel=0.01)
        assert f"{PLAIN} in 4 iterations to " in lines[0]
        total = float(lines[2].split(" iterations, ")[1].split()[0])
        assert total == pytest.approx(8 * mean, rel=0.01)
        assert lines[1] == "8 runs: 8 to do"
    size = complexity(NetworkSpec.parse(PLAIN), num_classes=10, in_channels=1, image_size=8)
    assert cheap == pytest.approx(4 * 16 * size.multiply_adds, rel=0.01)
    lines = plan(capsys, sweep_file({"network": {"value": PLAIN}, **rest}, **search))
    assert "choices" not in lines[0]


def test_what_is_left_is_said_after_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file({"network": {"values": [PLAIN, RESIDUAL]}, "seed": {"values": [0, 1]}})
    assert main(["sweep", file]) == 0
    told = capsys.readouterr()
    left = [line for line in told.err.splitlines() if " left" in line]
    assert [line.split(",")[0] for line in left] == [
        "3 runs are left",
        "2 runs are left",
        "1 run is left",
    ]
    for line in left:
        assert re.fullmatch(r".*, about \d+ (second|minute)s? with 1 worker", line)
    lines = told.out.splitlines()
    assert lines[0] == "4 of 4 runs finished"
    assert " ".join(lines[1:-1]).startswith("shortcuts help at 8 layers: ")
    assert "plain-8 minus resnet-8 training error" in " ".join(lines[1:-1])
    assert "n = 2" in " ".join(" ".join(lines[1:-1]).split())
    assert lines[-1] == "next: resnet-lab report runs/study --out report"


def test_twins_that_were_not_trained_alike_are_told_apart_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for network, lr in ((PLAIN, 0.1), (RESIDUAL, 0.05)):
        file = sweep_file({"network": {"value": network}, "recipe.lr": {"value": lr}})
        assert main(["sweep", file]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"{PLAIN} and {RESIDUAL} are not compared, as they were not trained alike: lr 0.1 here and "
        "0.05 there" in said
    )
    assert "shortcuts help" not in said


def test_twins_without_a_common_seed_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    for network, seed in ((PLAIN, 0), (RESIDUAL, 1)):
        assert (
            main(["sweep", sweep_file({"network": {"value": network}, "seed": {"value": seed}})])
            == 0
        )
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "shortcuts help at 8 layers: not tested (plain-8 and resnet-8: they share no seed (plain-8 "
        "has 0; resnet-8 has 1)" in said
    )


def test_a_tried_study_says_how_to_train_it(capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file({"network": {"value": PLAIN}})
    assert main(["sweep", file, "--smoke"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: the same command without --smoke"


def test_workers_share_runs_but_no_run() -> None:
    assert shared([100.0, 100.0, 100.0], 2) == 150.0
    assert shared([300.0, 10.0], 2) == 300.0
    assert shared([], 2) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "1 second"),
        (40, "40 seconds"),
        (600, "10 minutes"),
        (9000, "2.5 hours"),
        (864000, "10.0 days"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


def test_a_clock_takes_networks_without_a_run_to_be_as_fast_a_multiply_add(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = sweep_file({"network": {"value": PLAIN}})
    assert main(["sweep", file]) == 0
    took(80.0)
    (folder,) = Path("runs/study").glob("plain*")
    stored = Config.from_stored(yaml.safe_load((folder / "config.yaml").read_text()))
    configs = {"a": stored, "b": replace(stored, network=DEEP)}
    clock = Clock(Path("runs/study"), 1, configs)
    assert clock.seconds_left({"a": 1.0}) is None
    clock.note(folder.name)
    ratio = (multiply_adds(configs["b"]) or 0) / (multiply_adds(stored) or 1)
    assert clock.seconds_left({"a": 0.5}) == pytest.approx(40.0)
    assert clock.seconds_left({"b": 1.0}) == pytest.approx(80.0 * ratio)
    known = Clock(
        Path("runs/study"), 1, configs, measured_speeds([stored], folder.parent, Path("."))
    )
    assert known.seconds_left({"a": 1.0}) == pytest.approx(80.0)
    search = Clock(Path("runs/study"), 2)
    assert search.seconds_left({"0": 1.0}) is None
    search.note(folder.name)
    assert search.seconds_left({"0": 1.0, "1": 1.0, "2": 1.0, "3": 1.0}) == pytest.approx(160.0)
