"""The run directory: the interface between training and analysis.

config.yaml      the complete configuration; `resnet-lab train --config` repeats the run
run.json         status, protocol, complexity, final numbers, provenance
metrics.parquet  losses, errors and learning rates by step
layers.parquet   recordings by step and layer
checkpoints/     to resume from
.lock-N          the process that is training it
weights/         the trained networks
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from resnet_lab.configuration.config import Config
from resnet_lab.configuration.identity import FORMAT, Identity, identify, identify_format_1
from resnet_lab.configuration.replaced import OF_QUANTITY, PARTS
from resnet_lab.data.config import default_data_dir
from resnet_lab.data.image_tree import classes_of
from resnet_lab.errors import UserError
from resnet_lab.files import (
    is_left_behind,
    is_sealed,
    remove_leftovers,
    seal,
    write_json,
    write_text,
)
from resnet_lab.runs.lock import RunLock
from resnet_lab.runs.rows import LAYERS, METRICS, RowFile
from resnet_lab.yaml_json import dump_yaml, load_json, load_yaml, read_text

FORMATS = (1, FORMAT)
FILES = ("run.json", "config.yaml", "metrics.parquet", "layers.parquet")
"""Files that readers need; the others serve to resume and to evaluate."""
OTHERS = ("metrics.parquet", "layers.parquet", "checkpoints", "weights")
"""Files that training writes beside run.json and config.yaml."""
_CHECKPOINT = re.compile(r"step-\d{9,}\.ckpt")


def run_name(config: Config, identity: Identity | None = None) -> str:
    """A readable and unique folder name: networks, data, seed and identity.

    Args:
        config: configuration of the run.
        identity: identity of the run; by default computed from the configuration and its data.
    """
    identity = identity or config.identity()
    names = [spec.name for spec in config.specs()]
    label = "+".join(names)
    if len(label) > 60:
        label = f"{names[0]}+{len(names) - 1}-more"
    return f"{label}_{config.data.result_name}_seed{config.seed}_{identity.id[:8]}"


class DamagedFile(UserError):
    """A file exists, but is damaged."""


class RunDirectory:
    """One run on disk.

    Attributes:
        path: the folder.
        config: configuration of the run expected there; None for any.
        identity: identity of that run.
        metrics: rows of metrics.parquet.
        layers: rows of layers.parquet.
    """

    def __init__(
        self, path: Path, config: Config | None = None, identity: Identity | None = None
    ) -> None:
        self.path = path
        self.config = config
        self.identity = identity or (config.identity() if config is not None else None)
        self._lock: RunLock | None = None
        self.metrics = RowFile(path / "metrics.parquet", METRICS)
        self.layers = RowFile(path / "layers.parquet", LAYERS)

    @classmethod
    def of(cls, config: Config, identity: Identity | None = None) -> RunDirectory:
        """Return the directory of a configuration's run, which need not exist yet.

        A run begun in format 1 keeps its directory and format.

        Args:
            config: configuration of the run.
            identity: identity of the run; by default computed from the configuration and its data.
        """
        folder = Path(config.runs_dir)
        folder = folder / config.study if config.study else folder
        identity = identity or config.identity()
        place = cls(folder / run_name(config, identity), config, identity)
        older = None if place.path.exists() else _begun_in_format_1(folder, config, identity)
        return older or place

    @property
    def id(self) -> str:
        """The hash of the run's identity: 16 hexadecimal digits."""
        assert self.identity is not None
        return self.identity.id

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """Folder of the trained networks' weights."""
        return self.path / "weights"

    def checkpoint_files(self) -> list[Path]:
        """The checkpoint files by rising step, without files of other names, such as copies.

        They are not checked for damage.
        """
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return sorted(path for path in found if _CHECKPOINT.fullmatch(path.name) and path.is_file())

    def has_weights(self) -> bool:
        """Whether there are weights files, as after the end of a run."""
        return any(not is_left_behind(path.name) for path in self.weights.glob("*.pt"))

    def create(self, config: Config) -> None:
        """Make the folders and save the configuration and all rows so far.

        Raises:
            UserError: the folder cannot be written, or holds another run.
        """
        self.read()
        with self._writing():
            self._make_folders()
            write_text(self.path / "config.yaml", dump_yaml(config.as_dict()))
            self.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, so that no other process trains this run; see `resnet_lab.runs.lock`.

        Raises:
            RunHeld: another process holds the lock.
            UserError: the folder cannot be written.
        """
        with self._writing():
            self._make_folders()
        with RunLock(self.path) as self._lock:
            for folder in (self.path, self.checkpoints, self.weights):
                remove_leftovers(folder)
            try:
                yield
            finally:
                self._lock = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write the run directory {self.path}: {error.strerror or error}; "
                "choose another with --runs-dir"
            ) from error

    def _make_folders(self) -> None:
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.weights.mkdir(exist_ok=True)

    def check_held(self) -> None:
        """Check before each write that this process has not lost the lock, if it took it.

        Raises:
            RunFailed: another process has taken the lock.
        """
        if self._lock is not None:
            self._lock.check()

    def read(self) -> dict[str, Any] | None:
        """The contents of run.json; None when there is no run here yet.

        A damaged file counts as missing, with a warning, if nothing is lost by that: the run has
        checkpoints, or was never finished.

        Raises:
            UserError: run.json is not of this project, or it or config.yaml belongs to another run.
        """
        if not (self.path / "run.json").exists():
            self._check_config()
            return None
        try:
            info = read_info(self.path)
        except DamagedFile as error:
            if self.has_weights() and not self.checkpoint_files():
                raise UserError(
                    f"{error}. The run in {self.path} was finished: restore that file, or move the "
                    "folder away to train it again"
                ) from error
            warnings.warn(f"{error}: made anew", stacklevel=2)
            self._check_config()
            return None
        if self.identity is not None and info.get("run") != self.identity.id:
            differences = "".join(f"; {difference}" for difference in self._differences())
            raise UserError(
                f"{self.path} holds another run ({info.get('run')}){differences}: move it away"
            )
        self._check_config()
        return info

    def _check_config(self) -> None:
        differences = self._differences()
        if differences:
            raise UserError(
                f"{self.path / 'config.yaml'} is not of the run that belongs there: "
                f"{'; '.join(differences)}. If the run is the right one, delete that file: it is "
                "written anew. Else move the folder away"
            )

    def _differences(self) -> list[str]:
        """Describe settings that decide the result and differ between config.yaml and `config`.

        A damaged file has no differences. Missing settings do not count: the file may come from an
        older version or be truncated.
        """
        file = self.path / "config.yaml"
        if self.config is None or self.identity is None or not file.exists():
            return []
        try:
            text = read_text(file)
            if not text.endswith("\n"):  # a truncated number would be a wrong number
                raise ValueError("it is cut off")
            values = load_yaml(text)
            other = Config.from_stored(values)
            decisive = _flat(identify_again(other, self.identity).content)
        except (OSError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            warnings.warn(f"{file} is damaged ({reason}): written anew", stacklevel=2)
            return []
        own = _flat(self.identity.content)
        here, there = _flat(self.config.as_dict()) | own, _flat(other.as_dict()) | decisive
        written = _flat(values)
        return [
            f"{name} is {there[name]} there and {here[name]} here"
            for name in here
            if name in own | decisive and name in written and there[name] != here[name]
        ]

    def with_other_parts(self) -> list[Path]:
        """Runs in the same folder that differ only in the content of the user's parts."""
        return [
            path
            for path in sorted(self.path.parent.glob(f"{self.path.name.rpartition('_')[0]}_*"))
            if path != self.path and self._differs_in_parts(path)
        ]

    def _differs_in_parts(self, path: Path) -> bool:
        known = {} if self.identity is None else self.identity.content
        parts = {name for name in known.get("code", {}) if name.startswith(PARTS)}
        try:
            there = read_info(path).get("identity") if parts else None
        except UserError:
            return False
        if not isinstance(there, dict) or not isinstance(there.get("code"), dict):
            return False
        return there.keys() == known.keys() and all(
            there[name] == known[name] for name in known if name != "code"
        )

    def data_is_missing(self) -> bool:
        """Whether the data was missing when the identity was computed; always False in format 1."""
        known = {} if self.identity is None else self.identity.content["data"]
        return "missing" in known.get("fingerprint", {})

    def data_was_guessed(self) -> bool:
        """Whether the images are matched only by path and counts; see `_has_data`."""
        if self.identity is None or self.config is None:
            return False
        return self.identity.format == 1 and not self.config.data.in_memory

    def is_finished(self) -> bool:
        """Whether the run exists and is finished."""
        info = self.read()
        return info is not None and info.get("status") == "finished"

    def write(self, info: dict[str, Any]) -> None:
        """Save run.json, with the run's identity and a checksum."""
        self.check_held()
        known: dict[str, Any] = {"format": FORMAT}
        if self.identity is not None:
            known["format"] = self.identity.format
        if self.identity is not None and self.identity.format == FORMAT:
            known["identity"] = self.identity.content
        write_json(self.path / "run.json", seal({**info, **known}))

    def flush(self) -> None:
        """Write all rows to disk."""
        self.check_held()
        self.metrics.flush()
        self.layers.flush()

    def take_up(self, metrics: pa.Table, layers: pa.Table) -> None:
        """Replace the rows by these; the next `flush` rewrites the files."""
        self.metrics.take_up(metrics)
        self.layers.take_up(layers)

    def resume(self, step: int) -> None:
        """Load the rows of the files, up to `step` updates."""
        self.metrics.resume(pc.field("step") <= step)
        self.layers.resume(pc.field("step") < step)


def read_info(path: Path) -> dict[str, Any]:
    """Read the run.json of a run directory. Older files without a checksum are accepted.

    Raises:
        UserError: not a run directory, a damaged file (`DamagedFile`), or an unknown format.
    """
    file = path / "run.json"
    try:
        info = load_json(read_text(file))
    except FileNotFoundError as error:
        raise UserError(f"{path} is no run directory: it has no run.json") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    except ValueError as error:
        raise DamagedFile(f"{file} cannot be read: {error}") from error
    if not isinstance(info, dict) or info.get("format") not in FORMATS:
        raise UserError(
            f"{file} is not of format {' or '.join(map(str, FORMATS))}, which this version reads"
        )
    if "sha256" in info and not is_sealed(info):
        raise DamagedFile(f"{file} cannot be read: its checksum is another one")
    info.pop("sha256", None)
    return info


def identify_again(config: Config, known: Identity) -> Identity:
    """Compute a configuration's identity with the format, data and code of a known one.

    Raises:
        UserError: the known identity has been altered.
    """
    if known.format == 1:
        identity = identify_format_1(config)
        if identity is None:
            raise UserError("it has settings that a run of format 1 cannot have")
        return identity
    try:
        return identify(config, known.content["data"]["fingerprint"], known.content.get("code"))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the identity in run.json is incomplete: {error}") from error


def _begun_in_format_1(folder: Path, config: Config, now: Identity) -> RunDirectory | None:
    """The directory of the same run, if begun in format 1, which had no data fingerprint."""
    identity = identify_format_1(config)
    own = any(place.startswith(OF_QUANTITY) for place in now.content.get("code", {}))
    if identity is None or own:
        return None
    run = RunDirectory(folder / run_name(config, identity), config, identity)
    return run if run.path.exists() and _has_data(run, config, now) else None


def _has_data(run: RunDirectory, config: Config, now: Identity) -> bool:
    """Whether a run of format 1 has the data of `now`, as far as can be determined.

    Fixed datasets always match; for image folders the path and the numbers of images and classes
    must match.
    """
    if config.data.in_memory:
        return True
    try:
        there = Config.from_stored(load_yaml(read_text(run.path / "config.yaml")))
        data = read_info(run.path)["data"]
        counts = data["counts"]
        images = counts["train"] + counts.get("validation", 0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return False
    places = [default_data_dir(one.data_dir).resolve() for one in (there, config)]
    known = now.content["data"]["fingerprint"].get("images", images)
    if places[0] != places[1] or images != known:
        return False
    try:
        return bool(len(classes_of(config.data.name, places[1])) == data.get("num_classes"))
    except UserError:  # reported when the data is read
        return True


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Flatten nested values to dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else None
        found.update(inner if inner is not None else {f"{before}{name}": value})
    return found
