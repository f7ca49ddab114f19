"""A search is one object, wherever it is looked at, and its best are confirmed with other seeds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_runs import PLAIN, RESIDUAL, at_step, info, interrupt, member

from analysis.claims import evaluate_claims
from analysis.doctor import examine
from analysis.search import Search, load_search, without_searches
from resnet_lab.cli import main
from resnet_lab.errors import UserError
from resnet_lab.runs.frames import load_runs
from resnet_lab.sweeps.search_record import parse_fingerprint
from resnet_lab.sweeps.study_name import FILE

FIXED: dict[str, Any] = {
    "data.test": {"value": False},
    "recipe.iterations": {"value": 6},
    "recipe.evaluate_every": {"value": 2},
    "recipe.batch_size": {"value": 16},
    "recording.probe_size": {"value": 16},
    "trainer.device": {"value": "cpu"},
}
RATES = [1e30, 0.02, 0.05, 0.1]
SEARCH: dict[str, Any] = {
    "program": "resnet-lab",
    "method": "random",
    "run_cap": 8,
    "parameters": {
        **FIXED,
        "network": {"values": [PLAIN, RESIDUAL]},
        "recipe.lr": {"distribution": "categorical", "values": RATES},
        "recipe.momentum": {"min": 0.0, "max": 0.9},
    },
}


def sweep(*flags: str, **changes: Any) -> int:
    Path("s.yaml").write_text(yaml.safe_dump({**SEARCH, **changes}))
    return main(["sweep", "s.yaml", *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search of eight trials over two networks, of which some diverge."""
    folder = tmp_path_factory.mktemp("search")
    file = folder / "s.yaml"
    file.write_text(yaml.safe_dump(SEARCH))
    assert main(["sweep", str(file), "--runs-dir", str(folder / "runs")]) == 0
    return folder / "runs" / "s"


@pytest.fixture
def search(trained: Path) -> Search:
    return load_search(trained)


def test_a_search_is_read_from_its_storage_and_its_runs(trained: Path, search: Search) -> None:
    assert search.definition is not None
    assert (search.definition.method, search.definition.seed) == ("random", 0)
    assert search.ranges["recipe.momentum"].text == "0 to 0.9"
    assert search.ranges["recipe.lr"].text == "one of 1e+30, 0.02, 0.05, 0.1"
    table = search.trials
    assert list(table["trial"]) == list(range(8))
    for _, row in table.iterrows():
        run = info(trained / row["name"])
        [one] = run["networks"]
        assert row["network"] == one["network"]
        lost = row["status"] == "diverged"
        assert lost == (row["recipe.lr"] == 1e30)
        assert np.isnan(row["value"]) if lost else row["value"] == one["final"]["validation_error"]
    lost = int((table["recipe.lr"] == 1e30).sum())
    assert 1 <= lost <= 6
    assert search.counts == {"finished": 8 - lost, "diverged": lost}
    best = table.loc[table["value"].idxmin()]
    assert search.winner is not None
    assert search.winner["name"] == best["name"]
    own = search.by_network.set_index("network")
    for network in (PLAIN, RESIDUAL):
        values = table[table["network"] == network]["value"]
        assert own.loc[network, "value"] == values.min()
        assert own.loc[network, "trials"] == len(values)


def test_runs_alone_say_what_they_can(trained: Path, search: Search, tmp_path: Path) -> None:
    """As where the storage is a database that cannot be reached."""
    copy = tmp_path / "s"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("*.journal"))
    alone = load_search(copy)
    columns = ["network", "status", "value", "recipe.lr", "recipe.momentum"]
    both = [one.trials[columns].sort_values("recipe.momentum") for one in (alone, search)]
    assert both[0].reset_index(drop=True).equals(both[1].reset_index(drop=True))
    (copy / FILE).unlink()
    by_columns = load_search(copy)  # nothing says that it is a search: its runs look like one
    assert by_columns.definition is None
    assert by_columns.counts == search.counts
    assert set(by_columns.parameters) == {"network", "lr", "momentum"}
    for arm in ("plain", "resnet"):
        for run in sorted(copy.glob(f"{arm}*"))[1:]:
            shutil.rmtree(run)
    with pytest.raises(UserError, match="holds no search"):
        load_search(copy)


def test_a_study_of_an_earlier_version_is_read_from_its_journal(
    trained: Path, search: Search, tmp_path: Path
) -> None:
    copy = tmp_path / "s"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns(FILE))
    assert load_search(copy).trials.equals(search.trials)
    assert load_search(copy).definition == search.definition


def test_a_search_in_postgresql_is_read_from_there(postgresql: str) -> None:
    changed = {"run_cap": 2, "parameters": {**SEARCH["parameters"], "recipe.lr": {"value": 0.05}}}
    assert sweep("--storage", postgresql, **changed) == 0
    found = load_search("runs/s", postgresql)
    assert list(found.trials["status"]) == ["finished"] * 2
    shutil.rmtree(Path("runs/s", str(found.trials["name"][1])))
    assert list(load_search("runs/s", postgresql).trials["status"]) == ["finished", "not here"]
    assert list(load_search("runs/s").trials["status"]) == ["finished"]


def test_no_part_takes_trials_for_groups_of_alike_runs(
    trained: Path, search: Search, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runs = load_runs(trained)
    assert without_searches(runs, [search]).runs.empty
    assert {one.verdict for one in evaluate_claims(runs)} == {"not tested"}
    assert examine(runs) == []
    assert main(["doctor", str(trained)]) == 0
    told = capsys.readouterr().out
    lost = search.counts["diverged"]
    assert f"  {lost} of 8 trials diverged: they count as worst" in told
    assert len(told.splitlines()) < 30
    assert main(["claims", str(trained)]) == 0
    assert capsys.readouterr().out.startswith(f"search s: 8 trials: {8 - lost} finished, {lost} ")
    assert main(["report", str(trained), "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    assert search.winner is not None
    assert f"  {trained}/{search.winner['name']}" in out.splitlines()
    figures = {file.name for file in (tmp_path / "report/figures").iterdir()}
    assert figures == {"search.png", "search.svg", "search.pdf"}
    assert (tmp_path / "report/tables/search_networks.csv").exists()


def test_ranges_are_read_as_they_were_written() -> None:
    found = parse_fingerprint(
        '["bayes", "plain-56/validation_loss", "Hyperband(first=3, eta=2)", {"a": "Continuous('
        'shape=\'log_uniform\', first=1e-05, second=0.01, quantum=None)", "b": "Integers(low=0, '
        'high=60)", "c": "Choices(values=(\'1\',), probabilities=None)", "d": "Continuous(shape='
        "'normal', first=2, second=3.0, quantum=0.5)\"}] seed 7 command ['x', '...']"
    )
    assert found is not None
    assert (found.method, found.metric, found.seed, found.halving) == (
        *("bayes", "plain-56/validation_loss"),
        *(7, True),
    )
    assert {name: one.text for name, one in found.ranges.items()} == {
        "a": "1e-05 to 0.01 (log)",
        "b": "0 to 60",
        "d": "normal, mu 2, sigma 3, in steps of 0.5",
    }
    assert parse_fingerprint("lr from 0 to 1") is None


# Confirmation


@pytest.fixture
def copied(trained: Path) -> Path:
    """The search, to go on with in the test's own folder."""
    shutil.copytree(trained, "runs/s")
    Path("s.yaml").write_text(yaml.safe_dump(SEARCH))
    return Path("runs/s")


def confirmed() -> list[Path]:
    return sorted(file.parent for file in Path("runs/s/s-confirm").glob("*/run.json"))


def test_the_best_of_each_network_are_ranked_by_fresh_seeds(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("--confirm", "2", "--seeds", "0,1") == 0
    told = capsys.readouterr()
    assert "seed 0 is the search's own, whose runs chose the best" in told.err
    assert "seed 2 is taken instead" in told.err
    assert "the search holds 2 networks: the best 2 of each" in told.err
    search = load_search(copied)
    assert sorted(search.confirmed["seed"].unique()) == [1, 2]
    before = {file: file.stat().st_mtime_ns for file in copied.glob("s-confirm/*/run.json")}
    for network, part in search.ranking.groupby("network"):
        best = search.finished[search.finished["network"] == network].head(2)
        assert set(part["trial"]) == set(best["trial"])
        assert list(part["mean"]) == sorted(part["mean"])
        assert list(part["rank"]) == list(range(1, len(part) + 1))
        assert part["test_mean"].notna().tolist() == [True, *[False] * (len(part) - 1)]
        for _, row in part.iterrows():
            repeats = search.confirmed[search.confirmed["trial"] == row["trial"]]
            finals = [member(Path(path), str(network))["final"] for path in repeats["path"]]
            errors = [final["validation_error"] for final in finals]
            assert row["mean"] == pytest.approx(np.mean(errors))
            assert row["sd"] == pytest.approx(np.std(errors, ddof=1))
            if row["rank"] == 1:
                tests = [final["test_error"] for final in finals]
                assert row["test_mean"] == pytest.approx(np.mean(tests))
                assert f"chosen for {network}: trial {row['trial']}, test error" in told.out
    assert sweep("--confirm", "2", "--seeds", "0,1") == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(confirmed()) == len(before)


def test_a_confirmation_that_is_interrupted_goes_on(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 3, interrupt)
    assert sweep("--confirm", "1", "--seeds", "5,6") == 1
    assert [info(run)["status"] for run in confirmed()] == ["interrupted"]
    assert load_search(copied).ranking["rank"].isna().all()
    assert sweep("--confirm", "1", "--seeds", "5,6") == 0
    assert [info(run)["status"] for run in confirmed()] == ["finished"] * 4


def test_a_seed_that_diverges_keeps_a_recipe_from_being_chosen(copied: Path) -> None:
    assert sweep("--confirm", "1", "--seeds", "5,6") == 0
    search = load_search(copied)
    lost = search.confirmed.assign(
        status=search.confirmed["status"].where(search.confirmed["seed"] != 6, "diverged")
    )
    object.__setattr__(search, "confirmed", lost)
    assert list(search.ranking["diverged"]) == [1, 1]
    assert search.ranking["rank"].isna().all()
    assert search.ranking["test_mean"].isna().all()


@pytest.mark.parametrize(
    ("flags", "changes", "message"),
    [
        (["--seeds", "1,2"], {}, "--seeds belongs to --confirm: give --confirm 3 too"),
        (["--confirm", "0"], {}, "--confirm is 0: give 1 or more"),
        (["--confirm", "1", "--seeds", "1,x"], {}, "--seeds is '1,x': give whole numbers"),
        (["--confirm", "1", "--seeds", "1,1"], {}, "--seeds has 1 more than once"),
        (["--confirm", "1", "--engine", "wandb"], {}, "--confirm is the local engine's"),
        (
            ["--confirm", "1"],
            {},
            "--confirm: 0 of 8 runs of the search 's' have ended, so its best are not known: first "
            "give `resnet-lab sweep s.yaml`",
        ),
        (
            ["--confirm", "1"],
            {"method": "grid", "parameters": {**FIXED, "network": {"value": PLAIN}}},
            "--confirm: s.yaml is a grid, in which nothing was drawn",
        ),
    ],
)
def test_what_cannot_be_confirmed_is_refused(
    flags: list[str], changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {**changes, "run_cap": None} if "method" in changes else changes
    assert sweep(*flags, **changes) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1
