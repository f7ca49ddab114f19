"""The saved view that compares networks, by the real libraries at a stand-in for W&B's server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import SECONDS, Server

from resnet_lab.errors import UserError
from resnet_lab.tracking import panels


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
    assert not server.errors


def test_a_view_lays_the_curves_of_a_study_over_each_other(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    for number, names in enumerate((["plain-34"], ["resnet-34"], ["plain-8", "resnet-8"])):
        run = server.add("lab", f"run{number}")
        run.group = "pair" if len(names) == 1 else "other"
        run.stored_config = {"networks": {"value": names}, "network": {"value": ",".join(names)}}
    command = [sys.executable, "-m", "resnet_lab.tracking.panels", "researcher/lab"]
    for study, before in (("pair", [""]), ("other", ["plain-8/", "resnet-8/"])):
        told = subprocess.run(
            [*command, "--study", study],
            env=server.environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith(f"{server.url}/researcher/lab")
        view = server.views[-1]
        assert (view["entityName"], view["projectName"]) == ("researcher", "lab")
        assert view["displayName"] == f"{study}: networks compared"
        [runset] = view["spec"]["section"]["runSets"]
        assert study in str(runset["filters"])
        assert runset["grouping"] == [{"section": "config", "name": "network.value"}]
        sections = {
            one["name"]: one["panels"]
            for one in view["spec"]["section"]["panelBankConfig"]["sections"]
        }
        shown = [panel["config"]["metrics"] for panel in sections["Errors"]]
        assert shown == [[f"{name}{key}" for name in before] for key in panels.ERRORS]
        shown = [panel["config"]["metrics"] for panel in sections["First and last layer"]]
        assert [f"{name}stem/relative_update" for name in before] in shown
        assert all(panel["config"]["yLogScale"] for panel in sections["First and last layer"])
        [whole] = sections["Whole network"]
        assert whole["config"]["metrics"] == [
            f"{name}network/total_gradient_norm" for name in before
        ]
        [media] = sections["Layer maps"]
        assert media["config"]["mediaKeys"] == ["layer_maps"]


def test_what_is_missing_for_a_view_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="the place is 'lab': give ENTITY/PROJECT"):
        panels.save_view("lab")
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert panels.main(["researcher/lab"]) == 2
    assert capsys.readouterr().err == (
        "resnet-lab: wandb-workspaces, which writes views, is not installed: "
        "`pip install wandb-workspaces`\n"
    )
