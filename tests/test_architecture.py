"""The rules that keep the parts apart, read from the source and checked in a bare interpreter."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from checkout import own_files
from tiny_runs import ROOT

import resnet_lab

MODULES = own_files("resnet_lab/**/*.py", "analysis/**/*.py")
# What analysis may know of the laboratory: what runs hold, what networks, data sets and claims are,
# mistakes, and how scripts end.
KNOWN_TO_ANALYSIS = {
    "resnet_lab.data.dataset",
    "resnet_lab.errors",
    "resnet_lab.files",
    "resnet_lab.lifecycle",
    "resnet_lab.networks.complexity",
    "resnet_lab.networks.cosine_map",
    "resnet_lab.networks.part",
    "resnet_lab.networks.registry",
    "resnet_lab.networks.spec",
    "resnet_lab.parts.claims",
    "resnet_lab.plotting",
    "resnet_lab.recording.quantities.gradient_correlation",
    "resnet_lab.recording.quantity",
    "resnet_lab.recording.schedule",
    "resnet_lab.runs.frames",
    "resnet_lab.sweeps.search_record",
}
# The house from the ground: nothing knows what stands in a later line, or beside it in its own.
FLOORS = [
    *("errors", "environment", "lifecycle", "yaml_json", "rank"),
    *("files", "field_types", "plotting", "parts"),
    *("networks", "data", "recording", "configuration", "runs", "machine", "tracking"),
    *("training", "sweeps", "cli", "__main__"),
]
"""Modules and packages of `resnet_lab`: each may import those before it and itself."""
TORCH_FREE = [
    "resnet_lab",
    "resnet_lab.cli",
    "resnet_lab.cli.parsing",
    "resnet_lab.cli.wandb_flags",
    "resnet_lab.data.cifar_files",
    "resnet_lab.data.config",
    "resnet_lab.data.dataset",
    "resnet_lab.data.fingerprint",
    "resnet_lab.data.image_tree",
    "resnet_lab.data.load",
    "resnet_lab.errors",
    "resnet_lab.field_types",
    "resnet_lab.files",
    "resnet_lab.networks.complexity",
    "resnet_lab.networks.cosine_map",
    "resnet_lab.networks.spec",
    "resnet_lab.networks.table",
    "resnet_lab.recording.own",
    "resnet_lab.recording.quantities.gradient_correlation",
    "resnet_lab.recording.quantity",
    "resnet_lab.recording.schedule",
    "resnet_lab.runs.directory",
    "resnet_lab.runs.frames",
    "resnet_lab.runs.owner",
    "resnet_lab.runs.provenance",
    "resnet_lab.runs.rows",
    "resnet_lab.runs.summary",
    "resnet_lab.sweeps.wandb_agents",
    "resnet_lab.sweeps.local",
    "resnet_lab.sweeps.sweep_file",
    "resnet_lab.tracking.agent",
    "resnet_lab.tracking.link",
    "resnet_lab.tracking.history",
    "resnet_lab.tracking.load",
    "resnet_lab.tracking.mirror",
    "resnet_lab.tracking.session",
    "resnet_lab.configuration.config",
    "resnet_lab.configuration.identity",
    "resnet_lab.configuration.optimizers",
    "resnet_lab.training.launchers",
    "resnet_lab.configuration.recipe",
    "resnet_lab.configuration.schedules",
]


def dotted(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(module: Path) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, and whether it is when `module` itself is."""
    tree = ast.parse(module.read_text())
    later = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or is_for_types(node)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in later
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            assert node.module is not None
            yield node.module, id(node) not in later


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def imports(package: str) -> list[tuple[str, str, bool]]:
    """(importing module, imported module, at once) of a whole package."""
    return [
        (dotted(module), name, at_once)
        for module in MODULES
        if dotted(module).split(".")[0] == package
        for name, at_once in imported(module)
    ]


def belongs_to(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_only_the_command_line_knows_analysis_and_only_when_it_is_called() -> None:
    found = [each for each in imports("resnet_lab") if belongs_to(each[1], "analysis")]
    assert found
    for importer, name, at_once in found:
        assert belongs_to(importer, "resnet_lab.cli"), f"{importer} imports {name}"
        assert not at_once, f"{importer} imports {name} at module level"


def test_analysis_meets_training_only_through_run_directories() -> None:
    found = {
        (importer, name)
        for importer, name, _ in imports("analysis")
        if belongs_to(name, "resnet_lab") and name not in KNOWN_TO_ANALYSIS
    }
    assert not found


def test_no_arrow_runs_up_in_the_house() -> None:
    there = {path.relative_to(ROOT / "resnet_lab").parts[0].removesuffix(".py") for path in MODULES
             if path.is_relative_to(ROOT / "resnet_lab")}  # fmt: skip
    assert there == {*FLOORS, "__init__"}
    for importer, name, _ in imports("resnet_lab"):
        floors = [one.split(".")[1] for one in (importer, name) if one.startswith("resnet_lab.")]
        if len(floors) == 2:  # the package itself only names what it offers
            assert FLOORS.index(floors[0]) >= FLOORS.index(floors[1]), f"{importer}: {name}"


def test_lightning_is_known_to_training_the_recorder_and_the_mirror_alone() -> None:
    users = {who for who, name, _ in imports("resnet_lab") if name.startswith("pytorch_lightning")}
    users |= {who for who, name, _ in imports("analysis") if name.startswith("pytorch_lightning")}
    assert {who for who in users if not belongs_to(who, "resnet_lab.training")} == {
        "resnet_lab.recording.recorder",
        "resnet_lab.tracking.callback",
    }
    makers = [path for path in MODULES if re.search(r"\bTrainer\(", path.read_text())]
    assert [dotted(path) for path in makers] == ["resnet_lab.training.trainer"]


@pytest.mark.parametrize("service", ["wandb", "optuna"])
def test_services_are_imported_only_where_they_are_used(service: str) -> None:
    for package in ("resnet_lab", "analysis"):
        for importer, name, at_once in imports(package):
            assert not (belongs_to(name, service) and at_once), f"{importer} imports {name}"


def test_one_module_alone_knows_what_is_private_to_wandb() -> None:
    users = [dotted(path) for path in MODULES if "wandb.sdk" in path.read_text()]
    assert users == ["resnet_lab.tracking.wandb_private"]


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common"}
    sources = [*MODULES, *own_files("tests/*.py", "benchmarks/**/*.py")]
    assert not [path for path in sources if drawers & {path.stem, path.parent.name}]


def test_every_module_says_what_it_is_and_postpones_annotations() -> None:
    for module in MODULES:
        tree = ast.parse(module.read_text())
        if tree.body:
            assert ast.get_docstring(tree), f"{module} has no docstring"
        if module.name != "__init__.py":
            assert ("__future__", True) in imported(module), module


TORCH_FREE_CHECK = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"torch", "torchvision", "pytorch_lightning", "wandb", "optuna"} & set(sys.modules)
    assert not heavy, f"{name} imports {heavy}"
import resnet_lab
from resnet_lab.recording.quantity import in_menus
assert in_menus()
for name in ("Config", "DataConfig", "NetworkSpec", "RecipeConfig", "complexity", "load_runs"):
    getattr(resnet_lab, name)
assert "torch" not in sys.modules
"""


def test_what_needs_no_torch_starts_without_it() -> None:
    analysis = [dotted(module) for module in MODULES if belongs_to(dotted(module), "analysis")]
    result = subprocess.run(
        [sys.executable, "-c", TORCH_FREE_CHECK, *TORCH_FREE, *analysis],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_what_the_package_offers_is_there() -> None:
    assert sorted(resnet_lab.__all__) == resnet_lab.__all__
    for name in resnet_lab.__all__:
        assert getattr(resnet_lab, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'resnet_lab' has no attribute 'trian'"):
        resnet_lab.trian  # noqa: B018


def test_every_module_of_analysis_can_be_imported_first() -> None:
    """Each in a process of its own, forked where the libraries are loaded already."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if path.is_relative_to(ROOT / "analysis")
    ]
    program = f"""
import importlib, os
import resnet_lab.plotting
import jinja2, matplotlib.figure, pandas, scipy.stats, seaborn
import resnet_lab.networks.spec, resnet_lab.recording.quantity, resnet_lab.runs.frames
for name in {names}:
    child = os.fork()
    if not child:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert len(names) > 60
    assert (done.stdout, done.returncode) == ("", 0), done.stderr[-2000:]
