"""The user's own claims: one file, judged like the project's everywhere, and what fails in one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from extending_page import examples
from synthetic_runs import as_runs, demo_runs, member

import resnet_lab as rl
from analysis.claims import Verdict, evaluate_claims, format_verdicts, own_claims
from resnet_lab.cli import main
from resnet_lab.parts import files

RUNS = str(Path(__file__).parents[1] / "results/cifar10_quick/runs")
FILE = '''import resnet_lab as rl


@rl.claim(
    "shortcut-helps",
    statement="At 20 layers the residual network has the lower training error.",
    needs="plain-20 and resnet-20, with equal seeds, trained alike",
    overturned={"supported": "With more seeds plain-20 ends as low."},
)
def shortcut_helps(group):
    """Supported if the 95 % interval of plain minus residual lies above 0, refuted if below."""
    return group.compare("plain-20", "resnet-20")
'''


demo = cache(demo_runs)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    yield path
    files.forget_files()


def judged(file: Path, body: str, runs: rl.Runs | None = None, **options: str) -> Verdict:
    """The verdict on a claim whose function is `body`."""
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    head = f"import resnet_lab as rl\n@rl.claim('mine', statement='s', needs='n'{given})\n"
    file.write_text(f"{head}def mine(group):\n    {body}\n")
    rl.load_parts(file)
    (found,) = evaluate_claims(demo() if runs is None else runs, own_claims())
    return found


def test_a_file_of_ten_lines_is_judged_as_the_projects_are(file: Path) -> None:
    assert len(FILE.splitlines()) <= 13
    rl.load_parts(file)
    found = evaluate_claims(demo())[-1]
    project = evaluate_claims(demo())[0]
    assert (found.id, found.title, found.source) == ("shortcut-helps", "shortcut helps", "mine.py")
    assert (found.verdict, found.n, found.unit) == ("supported", 3, "percentage points")
    assert found.effect == pytest.approx(2.9 * 1.02)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.effect < found.high
    assert found.protocol == project.protocol
    assert found.rule.startswith("Supported if the 95 % interval of plain minus residual")
    assert found.evidence.startswith("plain-20 minus resnet-20 training error 3.0 points, 95 % int")
    assert "Seeds 0, 1, 2: plain-20 3.00, 3.06, 3.12; resnet-20 0.10" in found.reason
    text = format_verdicts([found], why=True)
    assert "What would change it: with more seeds plain-20 ends as low." in " ".join(text.split())


def test_it_stands_in_claims_report_and_doctor(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.VARIABLE, "")
    line = "shortcut helps: undecided (plain-20 minus resnet-20 training error 2.0 points, n = 1"
    for command in ("claims", "doctor", "report"):
        assert main([command, RUNS, "--parts", str(file)]) == 0
        assert line in capsys.readouterr().out, command
    page = Path("report/index.html").read_text(encoding="utf-8")
    assert "At 20 layers the residual network has the lower training error." in page
    assert "shortcut helps" in Path("report/tables/verdicts.md").read_text(encoding="utf-8")
    for command, key in (("claims", None), ("doctor", "own_claims")):
        assert main([command, RUNS, "--json", "--parts", str(file)]) == 0
        told = json.loads(capsys.readouterr().out)
        row = (told if key is None else told[key])[-1]
        assert (row["id"], row["verdict"], row["n"]) == ("shortcut-helps", "undecided", 1)


@pytest.mark.parametrize(
    ("body", "verdict", "effect"),
    [
        ('return group.compare("plain-20-x0.5", "resnet-20-x0.5")', "supported", 2.958),
        ('return group.compare("resnet-20", "plain-20")', "refuted", -2.958),
        ('return group.compare("plain-8", "resnet-8", within=1)', "equivalent", -0.102),
        ('return group.compare("plain-20", "resnet-20", above=5)', "refuted", 2.958),
        ('return group.compare("plain-20", "resnet-20", "test_error")', "supported", 2.958),
        ('return group.compare("plain-20", "resnet-20", "parameters", unit="p")', "equivalent", 0),
        ('return group.compare("plain-56", "plain-20", ratio=True, above=10)', "supported", 18.333),
        ('return group.compare("plain-110", "plain-20")', "not tested", None),
        ("return None", "not tested", None),
        ('found = group.difference("plain-20", "resnet-20")\n'
         '    return group.finding("refuted", found, "So say I.")', "refuted", 2.958),
        ('rows = group.layers.query("quantity == \'gradient_norm\' and step == 0 and layer == 1")\n'
         '    values = rows.assign(network=rows["short"])\n'
         '    return group.compare("plain-20", "resnet-20", values, ratio=True)', "supported",
         (1.203 / 1.053) ** 19),
    ],
)  # fmt: skip
def test_what_a_function_may_return(
    body: str, verdict: str, effect: float | None, file: Path
) -> None:
    if "parameters" in body:
        body = body.replace("unit=", "within=1, unit=")
    found = judged(file, body)
    assert found.verdict == verdict
    assert found.effect == (None if effect is None else pytest.approx(effect, rel=2e-3))


def test_seeds_that_were_lost_and_networks_that_learnt_nothing_count(file: Path) -> None:
    errors = {"plain-20": [1.0, 1.1, 90.0, 90.0], "resnet-20": [5.0, 5.1, 5.2, 5.3]}
    rows = [member(name, i, one) for name, own in errors.items() for i, one in enumerate(own)]
    body = 'return group.compare("resnet-20", "plain-20", above=0)'
    lost = judged(file, body, as_runs(rows))
    assert lost.verdict == "undecided"
    assert "decides nothing. Seeds 0, 1: resnet-20 5.00, 5.10; plain-20 1.00, 1.10" in lost.reason
    rows = [member(name, seed, 89.0) for name in errors for seed in range(3)]
    assert judged(file, body, as_runs(rows)).verdict == "not under this recipe"


def test_across_a_trait_networks_are_told_apart_by_it(file: Path) -> None:
    errors = {"plain-20": 3.0, "plain-20-circular": 2.0}
    rows = [member(one, seed, error + seed) for one, error in errors.items() for seed in range(3)]
    body = 'return group.compare("plain-20", "plain-20-circular")'
    found = judged(file, body, as_runs(rows), across="padding")
    assert (found.verdict, found.effect, found.n) == ("supported", pytest.approx(1.0), 3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = {}\n    return x['none']", r"mine.py: line 5: KeyError: 'none'"),
        ("return 3", r"mine.py: line \d: it returned 3; return what group.compare or group.fi"),
        ("exit(3)", r"mine.py: line 4: SystemExit: 3"),
        ("return group.compare('plain-8', 'plain-20', 'trian_error')",
         r"mine.py: line 4: runs have no column 'trian_error', did you mean 'train_error'?"),
        ("return group.finding('suported', group.difference('plain-8', 'plain-20'))",
         r"mine.py: line 4: unknown outcome 'suported', did you mean 'supported'?"),
    ],
)  # fmt: skip
def test_a_function_that_fails_is_one_message_and_the_others_are_judged(
    body: str, message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = judged(file, body)
    assert found.verdict == "not tested"
    assert re.search(message, found.evidence), found.evidence
    others = evaluate_claims(demo())
    assert [one.verdict for one in others if one.id == "1-degradation"] == ["supported"]
    assert main(["claims", RUNS]) == 0
    assert f"mine: not tested ({found.evidence})" in capsys.readouterr().out


def test_an_unknown_trait_is_named(file: Path) -> None:
    found = judged(file, "return None", across="paddding")
    assert found.evidence == "networks have no trait 'paddding', did you mean 'padding'?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"shortcut-helps"', '"1-degradation"', r"claim '1-degradation': give small letters"),
        ('"shortcut-helps"', '"pair"', r"claim 'pair': give small letters"),
        ("At 20 layers the residual network has the lower training error.", "", r"statement is em"),
        ('{"supported"', '{"suported"', r"unknown outcome 'suported', did you mean 'supported'?"),
        ("def shortcut_helps(group)", "class A", r"claim 'shortcut-helps': .* is no function"),
        ("needs=", "need=", r"line 4: TypeError: claim\(\) got an unexpected keyword argument 'ne"),
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_one_is_refused_and_adds_nothing(
    old: str, new: str, message: str, file: Path
) -> None:
    text = FILE.replace(old, new)
    if "class A" in text:
        text = text.split('    """Supp')[0] + "    pass\n"
    file.write_text(text)
    with pytest.raises(rl.UserError, match=message):
        rl.load_parts(file)
    assert own_claims() == ()


def test_two_files_may_not_bring_one_name(file: Path, tmp_path: Path) -> None:
    rl.load_parts(file)
    other = tmp_path / "other.py"
    other.write_text(FILE)
    with pytest.raises(rl.UserError, match=r"other.py: claim 'shortcut-helps' is there already"):
        rl.load_parts(other)
    assert [one.id for one in own_claims()] == ["shortcut-helps"]


def test_the_example_of_the_page_is_a_claim_that_runs(file: Path) -> None:
    file.write_text(examples("Networks")[0] + examples("Claims")[0])
    rl.load_parts(file)
    errors = {"resnet-20": 3.0, "resnet-20-half": 2.0}
    rows = [member(one, seed, error + seed) for one, error in errors.items() for seed in range(3)]
    (found,) = evaluate_claims(as_runs(rows), own_claims())
    assert (found.verdict, found.effect, found.n) == ("supported", pytest.approx(1.0), 3)
    assert found.overturned == "Trained longer, the halved network ends no lower."
