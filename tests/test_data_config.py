from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from resnet_lab.data.config import DataConfig, default_data_dir
from resnet_lab.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "cifar"},
            "data: unknown name 'cifar', did you mean 'cifar10'? "
            "(known: cifar10, cifar100, digits, imagenet, imagefolder)",
        ),
        ({"protocol": "test"}, "data: unknown protocol 'test' (known: validation, full)"),
        (
            {"normalise": "chanel"},
            "data: unknown normalise 'chanel', did you mean 'channel'? "
            "(known: pixel-mean, channel, imagenet)",
        ),
        ({"augment": "all"}, "data: unknown augment 'all' (known: paper, none)"),
        (
            {"name": "cifar10", "test_view": "ten-crop"},
            "data: test_view 'ten-crop' needs imagenet or imagefolder; "
            "cifar10 has the single view 'centre'",
        ),
        (
            {"normalise": "imagenet"},
            "data: normalise 'imagenet' needs colour images and digits are grey; "
            "use 'pixel-mean' or 'channel'",
        ),
        (
            {"validation_size": 0},
            "data: validation_size is 0; it must be at least 1 (protocol 'full' holds nothing out)",
        ),
        (
            {"validation_size": 10, "protocol": "full"},
            "data: validation_size 10 contradicts protocol 'full', which holds nothing out; "
            "drop one of the two",
        ),
        ({"workers": -1}, "data: workers is -1; it must be 0 or more"),
    ],
)
def test_bad_values_are_named_with_the_way_out(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        DataConfig(**values)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_the_data_directory_is_the_argument_then_the_variable_then_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESNET_LAB_DATA", "/somewhere")
    assert default_data_dir("/else") == Path("/else")
    assert default_data_dir() == Path("/somewhere")
    monkeypatch.delenv("RESNET_LAB_DATA")
    assert default_data_dir() == Path.home() / ".cache/resnet_lab"


def test_data_sets_are_the_projects_whichever_is_imported_first_and_need_no_torch() -> None:
    code = """
import sys, resnet_lab.data.datasets.digits
from resnet_lab.data.config import DataConfig
from resnet_lab.data.dataset import datasets
from resnet_lab.parts.registry import additions
assert [*datasets()] == ["cifar10", "cifar100", "digits", "imagenet", "imagefolder"]
assert DataConfig("imagenet").in_memory is False and additions() == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
