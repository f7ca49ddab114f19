"""The run directory: the one contract between training and analysis.

config.yaml      the complete configuration; `resnet-lab train --config` repeats the run
run.json         status, protocol, complexity, final numbers, provenance
metrics.parquet  losses, errors and learning rates by step
layers.parquet   recordings by step and layer
checkpoints/     to continue from
.lock-N          who trains it, while it is trained
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
"""What readers of a run directory need; the rest serves to continue and to evaluate."""
OTHERS = ("metrics.parquet", "layers.parquet", "checkpoints", "weights")
"""What training makes beside run.json and config.yaml."""
_CHECKPOINT = re.compile(r"step-\d{9,}\.ckpt")


def run_name(config: Config, identity: Identity | None = None) -> str:
    """A readable folder name, unique to the result: networks, data, seed and identity.

    Args:
        config: of the run.
        identity: of the run; read from the configuration and its data without.
    """
    identity = identity or config.identity()
    names = [spec.name for spec in config.specs()]
    label = "+".join(names)
    if len(label) > 60:
        label = f"{names[0]}+{len(names) - 1}-more"
    return f"{label}_{config.data.name}_seed{config.seed}_{identity.id[:8]}"


class DamagedFile(UserError):
    """A file is there and is not what was written."""


class RunDirectory:
    """One run on disk.

    Attributes:
        path: of the folder.
        config: of the run that may lie there; None for any.
        identity: of that run.
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
        """The place of a configuration's run, whether it exists yet or not.

        A run that was begun in format 1 stays in its directory, and in its format.

        Args:
            config: of the run.
            identity: of the run; read from the configuration and its data without.
        """
        folder = Path(config.runs_dir)
        folder = folder / config.study if config.study else folder
        identity = identity or config.identity()
        place = cls(folder / run_name(config, identity), config, identity)
        older = None if place.path.exists() else _begun_in_format_1(folder, config, identity)
        return older or place

    @property
    def id(self) -> str:
        """16 hexadecimal digits: of the configuration that this was made with."""
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
        """The checkpoints by rising step. Other files, such as copies under other names, are none.

        Whether they are whole is not looked at.
        """
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return sorted(path for path in found if _CHECKPOINT.fullmatch(path.name) and path.is_file())

    def has_weights(self) -> bool:
        """Whether there is any file of weights, as after the end of a run."""
        return any(not is_left_behind(path.name) for path in self.weights.glob("*.pt"))

    def create(self, config: Config) -> None:
        """Make the folders and save the configuration, and the rows that are known.

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
        """While entered, no other process trains this run; see `resnet_lab.runs.lock`.

        Raises:
            RunHeld: one does already.
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
        """See that this process, if it had the lock, has it still: before anything is written.

        Raises:
            RunFailed: another process has taken it for dead.
        """
        if self._lock is not None:
            self._lock.check()

    def read(self) -> dict[str, Any] | None:
        """The contents of run.json; None when there is no run here yet.

        A damaged file counts as none, with a warning, as long as nothing is lost by that: the run
        has checkpoints, or it has never been finished.

        Raises:
            UserError: run.json is not what this project writes, or it or config.yaml is another
                run's.
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
        """In words, what determines the result and is another in config.yaml than in `config`.

        A file that is damaged says nothing. What it lacks is no difference: an older version may
        have written it, or it is cut off.
        """
        file = self.path / "config.yaml"
        if self.config is None or self.identity is None or not file.exists():
            return []
        try:
            text = read_text(file)
            if not text.endswith("\n"):  # a number that was cut off is another number
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
        """The runs beside this one that differ from it in the content of the user's parts alone."""
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
        """Whether the data lacked when the identity was read; format 1 knows nothing of them."""
        known = {} if self.identity is None else self.identity.content["data"]
        return "missing" in known.get("fingerprint", {})

    def data_was_guessed(self) -> bool:
        """Whether the run has its images by their place and number alone; see `_has_data`."""
        if self.identity is None or self.config is None:
            return False
        return self.identity.format == 1 and not self.config.data.in_memory

    def is_finished(self) -> bool:
        """Whether the run is here and done."""
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
        """Go on from these rows, whatever the files hold: the next `flush` writes them anew."""
        self.metrics.take_up(metrics)
        self.layers.take_up(layers)

    def resume(self, step: int) -> None:
        """Take up the rows of the files, as they were after `step` updates."""
        self.metrics.resume(pc.field("step") <= step)
        self.layers.resume(pc.field("step") < step)


def read_info(path: Path) -> dict[str, Any]:
    """Read the run.json of a run directory. One without a checksum, as older ones are, is believed.

    Raises:
        UserError: no run directory, a damaged file (`DamagedFile`), or another format.
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
    """The identity of a configuration by the rules, and with the data and code, of a known one.

    Raises:
        UserError: the known one has been altered.
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
    """The directory of the same run if a version that knew no data by fingerprint has begun it."""
    identity = identify_format_1(config)
    own = any(place.startswith(OF_QUANTITY) for place in now.content.get("code", {}))
    if identity is None or own:
        return None
    run = RunDirectory(folder / run_name(config, identity), config, identity)
    return run if run.path.exists() and _has_data(run, config, now) else None


def _has_data(run: RunDirectory, config: Config, now: Identity) -> bool:
    """Whether a run of format 1 has the data of `now`, as far as it can be told.

    Data sets that are always the same are; of image folders the place and the numbers of images and
    of classes must be those of the run.
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
    except UserError:  # said when the data is to be read
        return True


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else None
        found.update(inner if inner is not None else {f"{before}{name}": value})
    return found
