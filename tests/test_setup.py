from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from tiny_runs import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)")


def direct() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in lines]


def pins() -> list[tuple[str, Version]]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    stated = [line for line in lines if line and not line.startswith("#")]
    found = [PIN.fullmatch(line) for line in stated]
    assert None not in found, "every line of constraints.txt pins one version"
    return [(canonicalize_name(pin[1]), Version(pin[2])) for pin in found if pin]


def pip_lines() -> list[str]:
    [part] = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    return list(part)


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_every_direct_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    version = dict(pins()).get(canonicalize_name(requirement.name))
    assert version is not None, "constraints.txt does not pin it"
    assert requirement.specifier, "pyproject.toml gives no range"
    assert version in requirement.specifier


def test_every_package_is_pinned_once() -> None:
    names = [name for name, _ in pins()]
    assert len(names) == len(set(names))


def test_torch_has_the_range_that_the_project_promises() -> None:
    [torch] = [requirement for requirement in direct() if requirement.name == "torch"]
    assert Version("2.11") in torch.specifier
    assert Version("2.10") not in torch.specifier


def test_conda_installs_this_project_with_the_same_versions() -> None:
    assert pip_lines() == ["--constraint constraints.txt", "--editable .[test]"]
    assert set(PROJECT["optional-dependencies"]) >= {"test"}


def test_conda_itself_brings_nothing_but_a_python_that_the_project_allows() -> None:
    plain = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    [python] = [entry for entry in plain if entry.startswith("python")]
    assert sorted(plain) == sorted([python, "pip"])
    version = python.removeprefix("python=")
    assert Version(version) in SpecifierSet(PROJECT["requires-python"])


def test_make_installs_the_same_versions() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "pip install --quiet --constraint constraints.txt --editable '.[test]'" in makefile
    minimum = re.search(r"sys\.version_info < \((\d+), (\d+)\)", makefile)
    assert minimum is not None
    assert PROJECT["requires-python"] == f">={minimum[1]}.{minimum[2]}"


def test_the_command_is_installed() -> None:
    assert PROJECT["scripts"] == {"resnet-lab": "resnet_lab.__main__:run"}
