"""The run directory: the one contract between training and analysis.

config.yaml      the complete configuration; `resnet-lab train --config` repeats the run
run.json         status, protocol, complexity, final numbers, provenance
metrics.parquet  losses, errors and learning rates by step
layers.parquet   recordings by step and layer
checkpoints/     to continue from
weights/         the trained networks
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import yaml

from resnet_lab.errors import UserError
from resnet_lab.files import write_json, write_text
from resnet_lab.runs.rows import LAYERS, METRICS, RowFile
from resnet_lab.training.config import Config

FORMAT = 1
FILES = ("run.json", "config.yaml", "metrics.parquet", "layers.parquet")
"""What readers of a run directory need; the rest serves to continue and to evaluate."""


def run_name(config: Config) -> str:
    """A readable folder name, unique to the result: networks, data, seed and identity."""
    names = [spec.name for spec in config.specs()]
    label = "+".join(names)
    if len(label) > 60:
        label = f"{names[0]}+{len(names) - 1}-more"
    return f"{label}_{config.data.name}_seed{config.seed}_{config.run_id()[:8]}"


class RunDirectory:
    """One run on disk.

    Attributes:
        path: of the folder.
        run_id: identity of the run that may lie there; None for any.
        metrics: rows of metrics.parquet.
        layers: rows of layers.parquet.
    """

    def __init__(self, path: Path, run_id: str | None = None) -> None:
        self.path = path
        self.run_id = run_id
        self.metrics = RowFile(path / "metrics.parquet", METRICS)
        self.layers = RowFile(path / "layers.parquet", LAYERS)

    @classmethod
    def of(cls, config: Config) -> RunDirectory:
        """The place of a configuration's run, whether it exists yet or not."""
        folder = Path(config.runs_dir)
        folder = folder / config.study if config.study else folder
        return cls(folder / run_name(config), config.run_id())

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """Folder of the trained networks' weights."""
        return self.path / "weights"

    def create(self, config: Config) -> None:
        """Make the folders and save the configuration.

        Raises:
            UserError: the folder cannot be written, or holds another run.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.weights.mkdir(exist_ok=True)
            self.read()
            write_text(self.path / "config.yaml", yaml.safe_dump(config.as_dict(), sort_keys=False))
        except OSError as error:
            raise UserError(
                f"cannot write the run directory {self.path}: {error.strerror or error}; "
                "choose another with --runs-dir"
            ) from error

    def read(self) -> dict[str, Any] | None:
        """The contents of run.json; None when there is no run here yet.

        Raises:
            UserError: run.json is not what this project writes, or it is another run's.
        """
        if not (self.path / "run.json").exists():
            return None
        info = read_info(self.path)
        if self.run_id not in (None, info.get("run")):
            raise UserError(f"{self.path} holds another run ({info.get('run')}): move it away")
        return info

    def is_finished(self) -> bool:
        """Whether the run is here and done."""
        info = self.read()
        return info is not None and info["status"] == "finished"

    def write(self, info: dict[str, Any]) -> None:
        """Save run.json."""
        write_json(self.path / "run.json", {"format": FORMAT, **info})

    def flush(self) -> None:
        """Write all rows to disk."""
        self.metrics.flush()
        self.layers.flush()

    def resume(self, step: int) -> None:
        """Take up the rows as they were after `step` updates."""
        self.metrics.resume(pc.field("step") <= step)
        self.layers.resume(pc.field("step") < step)


def read_info(path: Path) -> dict[str, Any]:
    """Read the run.json of a run directory.

    Raises:
        UserError: no run directory, a damaged file, or another format.
    """
    file = path / "run.json"
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is no run directory: it has no run.json") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise UserError(f"{file} is not of format {FORMAT}, the one that this version reads")
    return info
