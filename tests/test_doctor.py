from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_runs import DEMO_ERRORS, as_runs, demo_runs, member
from tiny_runs import PAIR, ROOT, info, tiny

from analysis.doctor import Diagnosis, examination_text, examine, measured
from analysis.doctor.examine import CHECKS
from analysis.doctor.facts import KNOWN, RECIPES
from analysis.doctor.settings import value_text
from analysis.statistics import seeds_to_decide
from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.data.datasets.cifar import CIFAR10
from resnet_lab.machine import Fact, machine_facts
from resnet_lab.runs.frames import Runs
from resnet_lab.training.train import train
from resnet_lab.yaml_json import dump_yaml

CIFAR: dict[str, Any] = {"data": "cifar10", "protocol": "45k/5k", "iterations": 64_000}
SIX = {name.replace("-x0.5", ""): error for name, error in DEMO_ERRORS.items()}


def study(
    errors: Mapping[str, float],
    seeds: Sequence[int] = (0, 1, 2),
    columns: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Runs:
    """Runs of these networks and training errors; `columns` are added to the frame of members."""
    rows = [
        member(network, seed, error * (1 + 0.01 * seed), **settings)
        for seed in seeds
        for network, error in errors.items()
    ]
    runs = as_runs(rows)
    return replace(runs, runs=runs.runs.assign(**(columns or {})))


def together(*parts: Runs) -> Runs:
    """The runs of several studies, each with run identities of its own."""
    marked = [
        [frame.assign(run=frame["run"] + str(number)) for frame in (part.runs, part.metrics)]
        for number, part in enumerate(parts)
    ]
    runs, metrics = (pd.concat(frames, ignore_index=True) for frames in zip(*marked, strict=True))
    return Runs(runs, metrics, parts[0].layers)


def found(runs: Runs) -> dict[str, Diagnosis]:
    """What explains, or may explain, that the first group shows no degradation; by id."""
    return {one.id: one for one in examine(runs)[0].diagnoses}


def explaining(runs: Runs) -> list[str]:
    return [one.id for one in examine(runs)[0].diagnoses if one.severity == "explains it"]


# Nothing stands in the way


def test_a_proper_study_that_shows_degradation_has_nothing_in_its_way() -> None:
    runs = demo_runs()
    last = runs.metrics["step"] > 0.8 * 160
    final = runs.metrics.groupby(["run", "network", "split"])["value"].transform("last")
    level = runs.metrics["value"].where(~last, final)
    (group,) = examine(replace(runs, metrics=runs.metrics.assign(value=level)))
    assert group.outcome == "supported"
    assert group.diagnoses == ()
    assert group.fine == tuple(CHECKS)
    assert (group.finished, group.members) == (18, 18)
    told = examination_text([group], [], [])
    assert "  nothing stands in the way: the deeper plain network trains worse" in told.splitlines()
    assert group.evidence in " ".join(told.split())
    assert "why:" not in told


def test_a_proper_study_without_degradation_is_not_explained_away() -> None:
    settings = {"iterations": 192, "warmup_steps": 40, "precision": "float32"}
    columns = {"schedule": "drop_factor=0.1 drops=[144] ghost_batch=0"}
    runs = study(DEMO_ERRORS, columns=columns, **settings)
    values = [5.0, 6.0, 7.0]
    frame = runs.runs
    for network, shift in (("plain-8-x0.5", 1.0), ("plain-20-x0.5", 1.0), ("plain-56-x0.5", 0.0)):
        frame.loc[frame["network"] == network, "train_error"] = [v + shift for v in values]
    group = examine(Runs(frame, runs.metrics.iloc[:0], runs.layers))[0]
    assert group.outcome == "refuted"
    assert group.diagnoses == ()
    assert "nothing stands in the way: these networks show no degradation" in examination_text(
        [group], [], []
    )


# One diagnosis at a time


def test_networks_of_one_depth_have_nothing_to_be_compared_with() -> None:
    runs = study({"plain-20": 9.0}, **CIFAR)
    one = found(runs)["one depth"]
    assert explaining(runs) == ["one depth"]
    assert "20 layers" in one.found
    assert one.remedy == (
        "resnet-lab train --config runs/synthetic/run-0/config.yaml --network plain-56"
    )
    deep = found(study({"plain-56-x0.5": 50.0}))["one depth"]
    assert deep.remedy.endswith("--network plain-8-x0.5")
    assert found(study({"plain-18": 30.0}, data="imagenet"))["one depth"].remedy.endswith(
        "--network plain-34"
    )


def test_a_pair_of_one_depth_is_not_asked_for_another() -> None:
    runs = study({"plain-34": 30.0, "resnet-34": 25.0}, data="imagenet", iterations=600_000)
    (group,) = examine(runs)
    assert (group.one_depth, group.outcome) == (True, "not tested")
    assert not {"one depth", "depth"} & {one.id for one in group.diagnoses}
    assert group.pairs[0].startswith(
        "shortcuts help at 34 layers: supported (plain-34 minus resnet-34 training error 5.1 points"
    )
    assert not {"depth", "best epochs"} & set(group.fine)
    told = " ".join(examination_text([group], [], []).split())
    assert "degradation: not tested (the depth question was not asked: plain and residual" in told
    assert "--network plain-18" not in told


def test_another_depth_of_the_same_study_is_asked_about() -> None:
    pair = study({"plain-34": 30.0, "resnet-34": 25.0}, data="imagenet")
    other = study({"plain-18": 28.0}, data="imagenet", lr=0.05)
    apart = examine(together(pair, other))[0]
    assert (apart.one_depth, apart.diagnoses[0].id) == (False, "settings differ between depths")
    elsewhere = together(pair, replace(other, runs=other.runs.assign(study="another")))
    assert examine(elsewhere)[0].one_depth


@pytest.mark.parametrize(
    ("errors", "seeds", "ids"),
    [
        ({"plain-34": 30.0, "resnet-34": 29.0}, (0,), ["one seed"]),
        ({"plain-34": 90.0, "resnet-34": 89.0}, (0, 1, 2), ["at chance level"]),
        ({"plain-34": 0.1, "resnet-34": 0.1}, (0, 1, 2), ["too easy"]),
        ({"plain-34": 90.0, "resnet-34": 20.0}, (0, 1, 2), []),
    ],
)
def test_what_hides_a_pairs_difference(
    errors: Mapping[str, float], seeds: Sequence[int], ids: list[str]
) -> None:
    runs = study(errors, seeds, **CIFAR)
    level = runs.metrics.groupby(["run", "network", "split"])["value"].transform("last")
    assert explaining(replace(runs, metrics=runs.metrics.assign(value=level))) == ids


def test_the_seeds_that_an_undecided_pair_would_take_are_counted() -> None:
    runs = study({"plain-34": 30.0, "resnet-34": 25.0}, **CIFAR)
    runs.runs.loc[runs.runs["network"] == "plain-34", "train_error"] = [27.0, 30.0, 36.0]
    one = found(runs)["too few seeds"]
    assert "training error 5.8 points with a standard deviation of 4.3 over 3 seeds" in one.found
    needed = seeds_to_decide(5.75, 4.3357237)
    assert f"{needed} seeds would show it" in one.why
    assert one.remedy.endswith("--seed 3  # and the same of plain-34")
    apart = study({"plain-34": 30.0, "resnet-34": 25.0}, **CIFAR)
    apart.runs.loc[apart.runs["network"] == "plain-34", "seed"] += 10
    assert "plain-34: seed 10, 11 and 12" in found(apart)["seeds not paired"].found


def test_residual_networks_alone_show_no_degradation() -> None:
    runs = study({"resnet-20-B-x0.5": 1.0, "resnet-56-B-x0.5": 1.0})
    one = found(runs)["no plain network"]
    assert one.severity == "explains it"
    assert "resnet-20-B and resnet-56-B" in one.found
    assert one.remedy.endswith("--network plain-20-x0.5,plain-56-x0.5")


@pytest.mark.parametrize(
    ("depths", "settings", "severity"),
    [
        ((8, 20), {}, "explains it"),
        ((8, 44), {}, "may matter"),
        ((14, 20), CIFAR, "explains it"),
        ((20, 44), CIFAR, "may matter"),
        ((20, 56), CIFAR, None),
    ],
)
def test_too_shallow_is_said_with_the_depth_that_shows_it(
    depths: tuple[int, int], settings: dict[str, Any], severity: str | None
) -> None:
    runs = study({f"plain-{depth}": 5.0 for depth in depths}, **settings)
    one = found(runs).get("too shallow")
    assert (one.severity if one else None) == severity
    if one is not None:
        assert f"{depths[1]} layers" in one.found
        assert one.remedy.endswith("--network plain-56")


def test_too_wide_is_said_with_the_width_that_was_measured() -> None:
    one = found(study({"plain-20-x4": 5.0, "plain-56-x4": 5.0}, **CIFAR))["too wide"]
    assert "4 times" in one.found
    assert one.remedy.endswith("--network plain-56")
    assert "13.31 % test error for plain-56 and 8.70 % for one eight times as wide" in one.why
    assert "too wide" not in found(study({"plain-20-x0.5": 5.0, "plain-56-x0.5": 5.0}, **CIFAR))


def test_one_seed_explains_an_undecided_verdict() -> None:
    runs = study(SIX, seeds=[4], **CIFAR)
    runs = replace(runs, metrics=runs.metrics.iloc[:0])
    one = found(runs)["one seed"]
    assert explaining(runs) == ["one seed"]
    assert one.remedy == (
        "train two seeds more of every depth: "
        "resnet-lab train --config runs/synthetic/run-4/config.yaml --seed 5"
    )
    apart = together(*(study({name: 9.0}, [0], **CIFAR) for name in ("plain-20", "plain-56")))
    apart = replace(apart, runs=apart.runs.assign(path=["runs/a", "runs/b c"]))
    assert found(apart)["one seed"].remedy.endswith(
        ": resnet-lab train --config 'runs/b c/config.yaml' --seed 1 and "
        "resnet-lab train --config runs/a/config.yaml --seed 1"
    )


def test_seeds_that_are_not_shared_make_no_pair() -> None:
    shallow, deep = (
        study({"plain-20": 9.0}, [0, 1], **CIFAR),
        study({"plain-56": 13.0}, [2], **CIFAR),
    )
    one = found(together(shallow, deep))["seeds not paired"]
    assert one.found == ("the depths share no seed (20 layers: seed 0 and 1; 56 layers: seed 2)")
    assert one.remedy.endswith("--seed 0")


def test_an_interval_that_holds_0_says_how_many_seeds_it_would_take() -> None:
    runs = study({"plain-20": 9.0, "plain-56": 9.0, "resnet-56": 8.0}, **CIFAR)
    frame = runs.runs
    differences = [0.0, 2.0, 4.0]
    frame.loc[frame["network"] == "plain-20", "train_error"] = 9.0
    frame.loc[frame["network"] == "plain-56", "train_error"] = [9.0 + d for d in differences]
    one = found(runs)["too few seeds"]
    assert "2.0 points with a standard deviation of 2.0 over 3 seeds" in one.found
    assert f", {seeds_to_decide(2.0, 2.0)} seeds would show it with a chance of 80 %" in one.why


def test_settings_that_differ_between_depths_are_named() -> None:
    runs = together(
        study({"plain-56": 13.0, "resnet-56": 7.0}, lr=0.05, **CIFAR),
        study({"plain-20": 9.0}, lr=0.1, **CIFAR),
    )
    one = found(runs)["settings differ between depths"]
    assert one.severity == "explains it"
    assert one.found == "56 layers and 20 layers were not trained alike: lr 0.05 here and 0.1 there"
    assert one.remedy.endswith("--network plain-20")
    assert {group.outcome for group in examine(runs)} == {"not tested"}


def test_a_schedule_is_taken_apart_where_it_differs() -> None:
    deep = study(
        {"plain-56": 13.0}, columns={"schedule": "drops=[10, 20] drop_factor=0.1"}, **CIFAR
    )
    flat = study({"plain-20": 9.0}, columns={"schedule": "drops=[] drop_factor=0.1"}, **CIFAR)
    assert found(together(deep, flat))["settings differ between depths"].found.endswith(
        ": drops [10, 20] here and [] there"
    )


def test_a_missing_twin_is_named_and_so_is_one_trained_otherwise() -> None:
    plain = study({"plain-20": 9.0, "plain-56": 9.0}, **CIFAR)
    one = found(plain)["no twin"]
    assert one.severity == "may matter"
    assert one.remedy.endswith("--network plain-56,resnet-56")
    other = study({"resnet-56": 7.0}, [0], **{**CIFAR, "lr": 0.2})
    assert "lr 0.1 here and 0.2 there" in found(together(plain, other))["no twin"].found


def test_another_recipe_is_listed_with_what_is_known_to_matter() -> None:
    changed = {**CIFAR, "iterations": 2816, "warmup_steps": 200}
    one = found(study(SIX, [0], {"optimizer": "adamw"}, **changed))["another recipe"]
    assert "optimizer adamw (there sgd)" in one.found
    assert "iterations 2816 (there 64000)" in one.found
    assert "warmup_steps 200 (there 0)" in one.found
    assert "momentum" not in one.found
    assert "warmup_steps: without its warm-up ResNet-56 ended at 9.7 %" in one.why
    assert "--config experiments/cifar10_paper.yaml" in one.remedy


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_are_those_of_the_experiments(name: str) -> None:
    config = parse_config(["--config", str(ROOT / name)])
    for key, value in RECIPES[name].items():
        actual = getattr(config.data if key in ("normalise", "augment") else config.recipe, key)
        actual = list(actual) if isinstance(actual, tuple) else actual
        assert value_text(actual) == value_text(value), key
    assert name in {known.recipe for known in KNOWN.values()}


def recorded(study: str, table: str) -> pd.DataFrame:
    frame = pd.read_csv(ROOT / "results" / study / "tables" / f"{table}.csv")
    return frame.set_index(frame["short"] if "short" in frame else frame["network"])


def quoted(text: str) -> tuple[float, ...]:
    """The numbers of a README table's cell, ``58.31 +- 3.38`` or ``60.30``."""
    return tuple(float(one) for one in text.split(" +- "))


README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("numbers", [measured.DIGITS, measured.CIFAR10], ids=["digits", "cifar"])
def test_what_the_doctor_quotes_stands_in_the_readmes_tables(
    numbers: dict[str, measured.Measured],
) -> None:
    for network, one in numbers.items():
        cells = re.findall(rf"^\| {network} \| ([\d.+ -]+?) \|", README, re.MULTILINE)
        wanted = (one.mean, one.sd) if one.n > 1 else (one.mean,)
        assert wanted in [quoted(cell) for cell in cells]


def test_what_the_doctor_quotes_is_what_results_hold() -> None:
    rates = recorded("fair_tuning_digits", "tuning_rates")
    train = rates[rates["split"] == "train"]
    for network, one in measured.DIGITS.items():
        row = train[train["lr"] == 0.1].loc[network]
        assert (row["mean"], row["sd"], row["n"]) == (
            pytest.approx(one.mean, abs=0.005),
            pytest.approx(one.sd, abs=0.005),
            one.n,
        )
    deep = train.loc["plain-56"]
    lowest = deep[deep["mean"] == deep["mean"].min()].iloc[0]
    tuned = measured.LOWEST_TUNED
    assert (lowest["mean"], lowest["sd"]) == pytest.approx((tuned.mean, tuned.sd), abs=0.005)
    wide = recorded("digits_width", "results")
    for network, one in measured.DIGITS_WIDE.items():
        row = wide.loc[network, ["train_mean", "train_sd", "n"]]
        assert tuple(row) == (
            pytest.approx(one.mean, abs=0.006),
            pytest.approx(one.sd, abs=0.006),
            one.n,
        )
    quick = recorded("cifar10_quick", "results")
    for network, one in measured.CIFAR10.items():
        assert quick.loc[network, "train_mean"] == pytest.approx(one.mean, abs=0.006)
        assert quick.loc[network, "n"] == one.n


def test_what_no_table_holds_stands_in_a_header() -> None:
    digits, quick = (
        " ".join(re.sub(r"^#", "", line) for line in path.read_text("utf-8").splitlines()).split()
        for path in (ROOT / "experiments" / f"{name}.yaml" for name in ("digits", "cifar10_quick"))
    )
    before, after = measured.WITHOUT_WARM_UP, measured.WITH_WARM_UP
    assert (
        f"without it ResNet-56 ended at {before.text} training error, with it at {after.text}"
        in (" ".join(digits))
    )
    (one, two), (first, second) = measured.BFLOAT16, measured.SEEDS
    said = " ".join(quick)
    assert f"differ from float32's by {one} points (plain-20) and {two} (resnet-20)" in said
    assert f"two float32 seeds do ({first} and {second})" in said


def test_longer_training_is_quoted_of_the_network_that_it_was_tried_on() -> None:
    runs = study({"plain-20": 9.0, "plain-56": 9.0}, [0], **CIFAR)
    assert "of plain-34 on ImageNet (R footnote 3)" in found(runs)["too few steps"].why


def test_published_errors_in_the_facts_are_those_of_the_papers_file() -> None:
    assert "9.78 +- 0.13 % (nabla0001, n = 5)" in KNOWN["cifar10"].fact
    assert "12.95 +- 0.22 % (nabla0001, n = 5)" in KNOWN["cifar10"].fact
    assert "plain-34 is 28.54 % (R Tables 2, 3)" in KNOWN["imagenet"].fact
    assert "27.94 % (R Table 2)" in KNOWN["imagenet"].fact


def test_networks_that_have_not_learnt_leave_nothing_to_compare() -> None:
    one = found(study({"plain-20": 88.0, "plain-56": 88.0}, [0, 1], iterations=30, data="cifar10"))[
        "at chance level"
    ]
    assert one.severity == "explains it"
    assert "plain-20 ends at 88.4 % training error, where guessing gives 90 %" in one.found
    assert "--recipe.iterations 300" in one.remedy
    assert "at chance level" not in found(study({"plain-20": 80.0, "plain-56": 88.0}, [0], **CIFAR))


def test_training_error_of_0_at_every_depth_is_too_easy() -> None:
    runs = study({"plain-8": 0.0, "plain-56": 0.0, "resnet-56": 0.0})
    one = found(runs)["too easy"]
    assert one.severity == "explains it"
    assert "8 layers 0.00 %, 56 layers 0.00 %" in one.found
    assert "too easy" not in found(study({"plain-8": 0.0, "plain-56": 0.6}, [0]))


def test_an_error_that_still_falls_means_too_few_steps() -> None:
    runs = study({"plain-20": 9.0, "plain-56": 9.0}, [0], **CIFAR)
    curve = runs.metrics[
        (runs.metrics["split"] == "train") & (runs.metrics["network"] == "plain-20")
    ]
    share = curve["step"] / 64_000
    fall = (
        curve["value"][(share > 0.8) & (share <= 0.9)].mean() - curve["value"][share > 0.9].mean()
    )
    one = found(runs)["too few steps"]
    assert f"20 layers by {fall:.1f} points" in one.found
    assert "--recipe.iterations 128000 --recipe.drops '[64000, 96000]'" in one.remedy
    flat = runs.metrics.assign(value=9.0)
    assert "too few steps" not in found(replace(runs, metrics=flat))


def test_degradation_that_is_there_does_not_silence_too_few_steps() -> None:
    (group,) = examine(demo_runs())
    assert group.outcome == "supported"
    assert [(one.id, one.severity) for one in group.diagnoses] == [("too few steps", "may matter")]
    told = examination_text([group], [], [])
    assert "the deeper plain network trains worse; what may matter:" in told
    assert "nothing stands in the way" not in told


def test_best_epochs_are_set_beside_last_ones() -> None:
    runs = study({"plain-20": 9.0, "plain-56": 13.0}, [0], **CIFAR)
    early = pd.DataFrame(
        {
            "run": runs.runs["run"],
            "network": runs.runs["network"],
            "step": 60_000,
            "epoch": 1.0,
            "split": "test",
            "metric": "error",
            "value": [10.5, 11.0],
        }
    )
    one = found(replace(runs, metrics=pd.concat([runs.metrics, early])))["best epochs"]
    assert "56 layers by 4.0, 20 layers by 0.5 points" in one.found
    assert "56 minus 20 layers is 0.5 points, by last ones 4.0" in one.found
    assert "best epochs" not in found(runs)


def test_members_that_did_not_finish_are_named_by_what_became_of_them() -> None:
    rows = [
        member("plain-20", 0, 9.0, **CIFAR),
        member("plain-56", 0, 9.0, **{**CIFAR, "status": "diverged", "diverged_at": 41}),
        member("resnet-56", 0, 9.0, **{**CIFAR, "status": "running"}),
    ]
    diagnoses = found(as_runs(rows))
    assert diagnoses["not finished: diverged"].severity == "explains it"
    assert diagnoses["not finished: diverged"].found == (
        "1 of 3 networks is diverged: plain-56 seed 0 (at step 41)"
    )
    assert diagnoses["not finished: running"].found.startswith("1 of 3 networks is running")
    assert "one depth" not in diagnoses


def test_unread_test_images_are_said() -> None:
    runs = study(SIX, [0], columns={"test_images": 0}, **CIFAR)
    assert found(runs)["test images unread"].severity == "may matter"
    assert "test images unread" not in found(study(SIX, [0], columns={"test_images": 360}, **CIFAR))


def test_every_diagnosis_has_numbers_reasons_and_a_way_out_within_the_width() -> None:
    runs = together(
        study({"plain-20": 9.0, "plain-44": 9.0}, [0], **CIFAR),
        study({"resnet-56": 9.0}, [1], **{**CIFAR, "lr": 0.3}),
    )
    groups = examine(runs)
    for one in (diagnosis for group in groups for diagnosis in group.diagnoses):
        assert all((one.found, one.why, one.remedy))
        assert one.severity in ("explains it", "may matter")
    told = examination_text(groups, [("runs/broken", "no format")], ["runs/other"])
    assert max(len(line) for line in told.splitlines()) <= 100
    assert told.splitlines()[-3:] == [
        "left out:",
        "  runs/broken: no format",
        "  runs/other: no run.json at or below it",
    ]


# The command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("runs"), recording={"enabled": False}))


def test_the_command_names_whatever_it_cannot_use(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("runs")
    for name in ("whole", "running", "broken"):
        shutil.copytree(trained, folder / "study" / name)
    config = tiny(seed=1, recording={"enabled": False})
    known = {"run": config.run_id(), "identity": config.identity().content}
    going = {**info(folder / "study/running"), **known, "status": "running", "seed": 1}
    (folder / "study/running/run.json").write_text(json.dumps(going))
    (folder / "study/running/config.yaml").write_text(dump_yaml(config.as_dict()))
    (folder / "study/broken/run.json").write_text("{")
    (folder / "study/notes").mkdir()
    (folder / "figures/png").mkdir(parents=True)
    assert main(["doctor", "runs"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert any(line.startswith("  runs/study/broken: runs/study/broken/run.json") for line in lines)
    assert "  runs/figures: no run.json at or below it" in lines
    assert "  runs/study/notes: no run.json at or below it" in lines
    assert "2 of 4 networks are running: plain-8 seed 1 (step 12)" in " ".join(printed.out.split())
    said = " ".join(printed.out.split())
    assert "shortcuts help at 8 layers: undecided (plain-8 minus resnet-8 training error" in said
    assert "the depth question was not asked" in said
    assert "explains it: one seed: plain-8 and resnet-8 share one seed." in said

    assert main(["doctor", "runs", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    (group,) = content["groups"]
    assert (group["finished"], group["members"], group["outcome"]) == (2, 4, "not tested")
    assert (group["one_depth"], group["diagnoses"][0]["id"]) == (True, "one seed")
    assert content["foreign"] == ["runs/figures", "runs/study/notes"]
    assert [one["path"] for one in content["skipped"]] == ["runs/study/broken"]
    assert {name.replace("-x0.25", "") for name in PAIR} == {"plain-8", "resnet-8"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("doctor nowhere", "nowhere is no directory: give the folder that holds the runs"),
        ("doctor empty", "empty holds no runs: no run.json at or below it"),
    ],
)
def test_where_there_are_no_runs_the_message_says_so(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert main(line.split()) == 2
    assert capsys.readouterr().err == f"resnet-lab: {message}\n"


# The machine


def facts(folder: Path) -> dict[str, Fact]:
    return {one.name: one for one in machine_facts(folder)}


def test_the_machine_is_described_with_a_hint_where_there_is_something_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setenv("RESNET_LAB_DATA", "images")
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert max(len(line) for line in told.splitlines()) <= 100
    assert torch.__version__ in told
    assert "-> resnet-lab data prepare cifar10 --data-dir images" in told
    assert main(["doctor", "--json", "--data-dir", "images"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"python", "torch", "processor", "wandb", "optuna", "psycopg", "W&B"} <= set(listed)
    assert listed["data directory"]["state"] == "images, which does not exist yet"
    assert listed["cifar100"]["state"] == "not there"


def test_cifar_is_judged_by_its_file_sizes() -> None:
    folder = Path("images") / CIFAR10.folder
    folder.mkdir(parents=True)
    for file, records in CIFAR10.records.items():
        with (folder / file).open("wb") as made:
            made.truncate(records * CIFAR10.record_bytes)
    whole = facts(Path("images"))["cifar10"]
    assert whole.state == f"complete in {folder}, by file sizes"
    assert whole.hint == "checksums: resnet-lab data verify cifar10 --data-dir images"
    (folder / "test_batch.bin").write_bytes(b"short")
    (folder / "data_batch_2.bin").unlink()
    part = facts(Path("images"))["cifar10"]
    assert part.state == (
        f"not complete in {folder}: data_batch_2.bin missing, "
        "test_batch.bin has 5 bytes, not 30,730,000"
    )
    assert part.hint == "resnet-lab data prepare cifar10 --data-dir images"


def test_image_folders_are_counted() -> None:
    for part, count in (("train", 3), ("val", 2)):
        for number in range(count):
            (Path("images/imagenet") / part / f"class{number}").mkdir(parents=True)
    (Path("images/imagenet/val/.ipynb_checkpoints")).mkdir()
    found = facts(Path("images"))
    assert found["imagenet"].state == (
        "not complete: 3 classes in images/imagenet/train, 2 classes in images/imagenet/val"
    )
    (Path("images/imagenet/val/class2")).mkdir()
    assert facts(Path("images"))["imagenet"].state == (
        "3 classes in images/imagenet/train, 3 classes in images/imagenet/val"
    )
    assert found["imagefolder"].state == "not there"


def test_a_login_is_found_in_the_variable_or_the_login_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "logins"
    monkeypatch.setenv("NETRC", str(file))
    assert facts(tmp_path)["W&B"].state == "nobody is logged in to api.wandb.ai"
    file.write_text("machine api.wandb.ai login user password x\n")
    file.chmod(0o600)
    assert facts(tmp_path)["W&B"].state == "logged in to api.wandb.ai"
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:8080")
    assert facts(tmp_path)["W&B"].state == "nobody is logged in to localhost"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert facts(tmp_path)["W&B"].state == "logged in to localhost by WANDB_API_KEY"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert facts(tmp_path)["W&B"].state == "WANDB_MODE is offline"


def test_little_space_and_missing_packages_come_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import importlib.util

    usage = shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "psycopg" else there(name)
    )
    found = facts(tmp_path)
    assert found["disk for runs"].state.startswith("1.0 GB free at ")
    assert found["disk for runs"].hint.startswith("little: ")
    assert found["psycopg"].state == "not installed"
    assert "pip install 'psycopg[binary]'" in found["psycopg"].hint
