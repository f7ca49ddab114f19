"""Import matplotlib even if its settings on this machine are invalid.

Lightning's metrics import matplotlib, so an invalid setting would end a run: in every process that
Jupyter starts, MPLBACKEND names the notebook's backend, whether installed there or not. Figures are
drawn without a backend and with their own style, so the user's settings are not needed; they are
not changed either.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from contextlib import chdir, suppress
from pathlib import Path

from resnet_lab.environment import variables_kept
from resnet_lab.errors import UserError
from resnet_lab.files import NO_TEMPORARY_FOLDER


def import_matplotlib() -> None:
    """Import matplotlib with the user's settings, or without them if they make it fail.

    Raises:
        UserError: there is no temporary folder that it can write to.
    """
    if "matplotlib.pyplot" in sys.modules:
        return
    try:
        _import_with_any_backend()
    except Exception:  # settings and style files may raise anything
        _forget_half_an_import()
        _import_without_settings()


def _import_with_any_backend() -> None:
    with variables_kept(["MPLBACKEND"]):
        backend = os.environ.pop("MPLBACKEND", None)
        import matplotlib.pyplot
    if backend:
        with suppress(ValueError):  # not a backend on this machine
            matplotlib.rcParams["backend"] = backend


def _import_without_settings() -> None:
    """Import it in the folder of its defaults, as a matplotlibrc there overrides all others."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    defaults = Path(found.origin).parent / "mpl-data"
    with variables_kept(["MPLBACKEND", "MPLCONFIGDIR"]), chdir(defaults):
        os.environ.pop("MPLBACKEND", None)
        os.environ["MPLCONFIGDIR"] = _folder_to_write_in()
        import matplotlib.pyplot  # noqa: F401


def _folder_to_write_in() -> str:
    try:
        folder = tempfile.mkdtemp(prefix="matplotlib-")
    except OSError as error:
        raise UserError(NO_TEMPORARY_FOLDER) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _forget_half_an_import() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        del sys.modules[name]


import_matplotlib()
