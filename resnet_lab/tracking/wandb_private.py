"""Private parts of W&B's client that resnet_lab uses: how an agent starts a run.

Only the agent's code knows how to write a point's values, and lost points are trained again exactly
as an agent would. This is the only module that imports from `wandb.sdk`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from resnet_lab.errors import UserError

_SWEEPS = "wandb.sdk.launch.sweeps.utils"
_FILES = "wandb.sdk.lib.config_util"


def agents_command(
    command: Sequence[Any] | None, program: str, values: Mapping[str, Any]
) -> list[str]:
    """The command that an agent runs for a point of a sweep.

    Args:
        command: of the sweep; None: W&B's own.
        program: of the sweep.
        values: the point's, by parameter.

    Raises:
        UserError: the command passes the values by a file, which only an agent writes.
    """
    filled = _private(_SWEEPS, "create_sweep_command_args")({"args": _arguments(values)})
    filled |= {"interpreter": ["python"], "env": ["/usr/bin/env"], "program": [program]}
    words: list[str] = []
    for word in map(str, _private(_SWEEPS, "create_sweep_command")(list(command or []))):
        macro = word[2:-1] if word.startswith("${") and word.endswith("}") else None
        if macro is not None and macro not in filled:
            raise UserError(f"the sweep's command has {word}, which only an agent can fill in")
        words += [word] if macro is None else map(str, filled[macro])
    return words


def write_point(file: Path, values: Mapping[str, Any]) -> None:
    """Write the file of a point's values that its run's client reads (WANDB_SWEEP_PARAM_PATH)."""
    _private(_FILES, "save_config_file_from_dict")(str(file), _arguments(values))


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"value": values[name]} for name in sorted(values)}


def _private(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        import wandb

        raise UserError(
            f"wandb {wandb.__version__} has no {module}.{name}, which training points of a sweep "
            "again needs: install the version in constraints.txt"
        ) from error
