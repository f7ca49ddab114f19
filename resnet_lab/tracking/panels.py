"""Saved W&B view that compares a study's networks: overlaid curves, and maps side by side.

    python -m resnet_lab.tracking.panels ENTITY/PROJECT [--study NAME]

Needs wandb-workspaces (`pip install wandb-workspaces`). Every network is one curve: the mean over
its seeds, with their standard deviation as a band.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from resnet_lab.errors import UserError
from resnet_lab.recording.quantity import in_menus
from resnet_lab.tracking.history import curves
from resnet_lab.tracking.session import log_in

ERRORS = {
    "train_error": "training error %",
    "validation_error": "validation error %",
    "test_error": "test error %",
    "train_loss": "training loss",
}
MAPS = "layer_maps"


def main(arguments: Sequence[str] | None = None) -> int:
    """Save the view and print its address."""
    parser = argparse.ArgumentParser(prog="python -m resnet_lab.tracking.panels")
    parser.description = "Compare a study's networks in W&B, as a saved view."
    parser.add_argument("place", metavar="ENTITY/PROJECT")
    parser.add_argument("--study", help="only the runs of this study, which is their group")
    given = parser.parse_args(arguments)
    try:
        print(save_view(given.place, given.study))
    except UserError as error:
        print(f"resnet-lab: {error}", file=sys.stderr)
        return 2
    return 0


def save_view(place: str, study: str | None = None) -> str:
    """Save the view and return its address.

    Args:
        place: entity/project.
        study: only its runs; None: all of the project.

    Raises:
        UserError: wandb-workspaces is not installed, W&B cannot be used, or there are no runs.
    """
    entity, slash, project = place.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise UserError(f"the place is '{place}': give ENTITY/PROJECT")
    _library()
    log_in()
    prefixes = _prefixes(place, study)
    view = comparison(entity, project, study, prefixes)
    view.save()
    return str(view.url)


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise UserError(
            "wandb-workspaces, which writes views, is not installed: `pip install wandb-workspaces`"
        ) from error
    return workspaces, panels


def _prefixes(place: str, study: str | None) -> list[str]:
    """Prefixes of the runs' keys: empty for a lone network, else each network's name."""
    import wandb

    api: Any = wandb.Api()
    try:
        runs = list(api.runs(place, filters={"group": study} if study else {}, lazy=False))
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B does not list the runs of '{place}': {error}") from error
    cohorts = [run.config["networks"] for run in runs if run.config.get("networks")]
    if not cohorts:
        where = f"'{place}'" + (f", study '{study}'" if study else "")
        raise UserError(f"the W&B project {where} holds no run of resnet_lab that has begun")
    found = [f"{name}/" if len(names) > 1 else "" for names in cohorts for name in names]
    return list(dict.fromkeys(found))


def comparison(entity: str, project: str, study: str | None, prefixes: Sequence[str]) -> Any:
    """Make the unsaved view, a `wandb_workspaces.workspaces.Workspace`."""
    workspaces, panels = _library()

    def lines(keys: Sequence[str], title: str, *, logarithmic: bool = False) -> Any:
        return panels.LinePlot(
            title=title,
            x="Step",
            y=[before + key for before in prefixes for key in keys],
            log_x=logarithmic,
            log_y=logarithmic,
            groupby=panels.Config("network"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=100,
        )

    def course(key: str) -> Any:
        return lines([key], key.replace("_", " ").replace("/", ": "), logarithmic=True)

    recorded = [one for one in in_menus() if one.default]
    layers = [course(key) for one in recorded if one.at != "network" for key in curves(one)]
    whole = [course(key) for one in recorded if one.at == "network" for key in curves(one)]
    sections = [
        ("Errors", [lines([key], title) for key, title in ERRORS.items()]),
        ("First and last layer", layers),
        ("Whole network", whole),
        ("Layer maps", [panels.MediaBrowser(title="layer maps", media_keys=[MAPS])]),
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"{study or project}: networks compared",
        sections=[
            workspaces.Section(name=name, panels=shown, is_open=True) for name, shown in sections
        ],
        runset_settings=workspaces.RunsetSettings(
            filters=[workspaces.Metric("Group") == study] if study else [],
            groupby=[workspaces.Config("network")],
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
