"""Runs for fault injection, the checks of their results, and the tally."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from fault_commands import Command, elsewhere, fork_workers

from resnet_lab.runs.rows import LAYERS, METRICS, read_table

STEPS = 48
PLAIN, RESIDUAL = NETWORKS = ("plain-8-x0.25", "resnet-8-x0.25")
SETTINGS: dict[str, Any] = {
    "recipe.batch_size": 16,
    "recipe.log_every": 4,
    "recipe.evaluate_every": 6,
    "recording.probe_size": 16,
    "trainer.device": "cpu",
    "trainer.progress": False,
    "trainer.checkpoint_steps": 3,
}
TRAIN = [
    "train",
    f"--recipe.iterations={STEPS}",
    f"--network={','.join(NETWORKS)}",
    *(f"--{name}={json.dumps(value).strip(chr(34))}" for name, value in SETTINGS.items()),
]
"""A second of training: 48 steps of a pair, recorded, with a checkpoint every third step."""
SWEEP = ["sweep", "grid.yaml", "--heartbeat=1"]
"""Four runs of half as many steps: two networks and two seeds."""


@dataclass
class Case:
    """One injected fault and its result.

    Attributes:
        problems: violated expectations.
        losses: data reported as saved that are gone.
        resumes: runs that were continued, and compared with undisturbed ones.
        equal: of these, runs whose results are byte for byte the same.
    """

    problems: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    resumes: int = 0
    equal: int = 0

    def expect(self, met: object, otherwise: str) -> None:
        """Note a problem unless `met` is true."""
        if not met:
            self.problems.append(otherwise)


@dataclass
class Tally:
    """Tally of the faults of one kind, with the failures."""

    injected: int = 0
    survived: int = 0
    lost: int = 0
    resumes: int = 0
    equal: int = 0
    faults: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, case: Case, what: str = "") -> None:
        """Count an injected fault; `what` describes it in the list of failures."""
        self.injected += 1
        self.survived += not case.problems and not case.losses
        self.lost += bool(case.losses)
        self.resumes += case.resumes
        self.equal += case.equal
        told = "; ".join([*case.losses, *case.problems])
        self.faults += [f"{what}: {told}"[:2000]] if told else []


@dataclass(frozen=True)
class Saved:
    """Results in a run directory that were reported as saved.

    Attributes:
        step: of the newest checkpoint; None without one.
        finished: the results of a run that run.json calls finished; None of any other.
        told: the step in run.json while the run is in training; for a failed run, the step at which
            it failed.
        created: when the run began.
        killed: whether its process was killed; else it may have trained to the end.
    """

    step: int | None
    finished: dict[str, bytes] | None
    told: int
    created: str
    killed: bool

    @classmethod
    def of(cls, run: Path, killed: bool = True) -> Saved:
        """Read a run directory."""
        steps = [int(path.stem[5:]) for path in run.glob("checkpoints/step-*.ckpt")]
        info = contents(run) if (run / "run.json").exists() else {}
        done = results(run) if info.get("status") == "finished" else None
        created = str(info.get("provenance", {}).get("created"))
        told = int(info["step"]) if info.get("status") == "running" else 0
        return cls(max(steps, default=None), done, told, created, killed)


class Ground:
    """Where faults are injected: folders, random moments, and undisturbed runs to compare with."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._kept = tempfile.TemporaryDirectory(prefix="faults-")
        self.folder = Path(self._kept.name)
        self.folder.chmod(0o755)
        self._made = 0
        self._seconds: dict[str, float] = {}

    def close(self) -> None:
        """Delete all folders."""
        self._kept.cleanup()

    def fresh(self) -> Path:
        """Return a new folder that holds only the sweep's file."""
        self._made += 1
        folder = self.folder / str(self._made)
        folder.mkdir()
        write_grid(folder)
        return folder

    def undisturbed(
        self, name: str, arguments: Sequence[str], before: Callable[[], object] = lambda: None
    ) -> Path:
        """Return the folder of an undisturbed command, which is run once."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            write_grid(folder)
            began = time.perf_counter()
            command = Command(arguments, folder, before)
            if command.wait() != 0:
                raise RuntimeError(f"the undisturbed command failed: {command.told}")
            self._seconds[name] = time.perf_counter() - began
        return folder

    def seconds(self, name: str) -> float:
        """Return the duration of the undisturbed command."""
        return self._seconds[name]

    @property
    def reference(self) -> Path:
        """The run directory of `TRAIN`."""
        return the_run(self.undisturbed("train", TRAIN))

    @property
    def study(self) -> dict[str, Path]:
        """The run directories of `SWEEP` by name."""
        return runs_in(self.undisturbed("sweep", [*SWEEP, "--workers=2"], fork_workers))


def write_grid(folder: Path, **more: Any) -> None:
    """Write the sweep's file."""
    values = {"recipe.iterations": STEPS // 2, **SETTINGS, **more}
    parameters = {name: {"value": value} for name, value in values.items()}
    lists = {"network": {"values": list(NETWORKS)}, "seed": {"values": [0, 1]}}
    content = {"program": "resnet-lab", "name": "study", "method": "grid"}
    text = yaml.safe_dump({**content, "parameters": {**lists, **parameters}})
    (folder / "grid.yaml").write_text(text)


def runs_in(folder: Path) -> dict[str, Path]:
    """The run directories of a study by name."""
    return {file.parent.name: file.parent for file in folder.glob("runs/study/*/config.yaml")}


def the_run(folder: Path) -> Path:
    """The only run directory, which may have no file yet."""
    found = [path for path in folder.glob("runs/*") if path.is_dir()]
    return found[0] if found else folder / "runs/none"


def contents(run: Path) -> dict[str, Any]:
    """Return the contents of run.json."""
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def results(run: Path) -> dict[str, bytes]:
    """Return the bytes of a run's results: weights, metrics, recordings."""
    files = [*sorted(run.glob("weights/*.pt")), run / "metrics.parquet", run / "layers.parquet"]
    return {file.name: file.read_bytes() for file in files if file.exists()}


def resumed(run: Path) -> list[int]:
    """Return the steps from which a run was resumed."""
    return [entry["step"] for entry in contents(run)["provenance"].get("resumed", [])]


def check_run(case: Case, run: Path, reference: Path, saved: Saved | None = None) -> None:
    """Check that a run is finished, says so, and equals the undisturbed one byte for byte.

    The undisturbed run has no duplicate rows, so an equal run has none.

    Args:
        saved: its contents after the fault, all of which must have been used.
    """
    try:
        info, other = contents(run), contents(reference)
    except (OSError, ValueError) as error:
        case.problems.append(f"no run.json that can be read: {error}")
        return
    state = (info["status"], info["step"], info["error"])
    case.expect(state == ("finished", other["step"], None), f"run.json says {state}")
    case.expect(info["networks"] == other["networks"], "final numbers differ")
    mine, theirs = results(run), results(reference)
    differing = [name for name in theirs if mine.get(name) != theirs[name]]
    case.expect(not differing, f"other bytes: {', '.join(differing)}")
    leftovers = [path.name for path in run.rglob(".*.part")]
    case.expect(not leftovers, f"left behind: {leftovers}")
    case.expect(len(list(run.glob("checkpoints/*"))) <= 2, "more than two checkpoints")
    steps = resumed(run)
    case.resumes += bool(steps)
    case.equal += bool(steps) and not differing
    if saved is not None:
        created = str(info["provenance"]["created"])
        case.losses += _losses(saved, mine, steps, created)


def _losses(saved: Saved, now: dict[str, bytes], steps: Sequence[int], created: str) -> list[str]:
    if saved.finished is not None:
        return [] if saved.finished == now else ["a finished run has other results now"]
    known = max(saved.step or 0, saved.told)
    went_on_itself = not saved.killed and not steps and created == saved.created
    if known and not went_on_itself and max(steps, default=0) < known:
        return [f"step {known} was saved, and the run went on from {steps or 'the beginning'}"]
    return []


def go_on(
    case: Case, folder: Path, reference: Path, saved: Saved | None = None, run: Path | None = None
) -> None:
    """Run the same command twice more: it resumes to the end, then has nothing to do."""
    command = Command(TRAIN, folder)
    case.expect(command.wait() == 0, f"the same command ended with {command.told}")
    run = run or the_run(folder)
    check_run(case, run, reference, saved)
    before = _all_bytes(run)
    again = Command(TRAIN, folder)
    case.expect(again.wait() == 0, f"the next command ended with {again.told}")
    case.expect("already finished" in again.told, f"the next command said {again.told}")
    case.expect(_all_bytes(run) == before, "the next command changed a finished run")


def _all_bytes(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_study(
    case: Case,
    folder: Path,
    study: dict[str, Path],
    saved: dict[str, Saved],
    url: str | None = None,
    altered: int = 0,
) -> None:
    """Check that a study is complete: each run once, each equal to the undisturbed one.

    The journal may know `altered` runs by another name: it has no checksum, so a flipped bit in a
    name is not noticed. The runs themselves have their names in their directories.
    """
    mine = runs_in(folder)
    case.expect(set(mine) == set(study), f"runs {sorted(mine)}")
    for name in set(mine) & set(study):
        check_run(case, mine[name], study[name], saved.get(name))
    counts = elsewhere(lambda: _completed(folder, url))
    once = len(counts) == len(study) and set(counts.values()) == {1}
    complete = once and len(set(counts) - set(study)) <= altered
    case.expect(complete, f"ends of runs in the study: {counts}")


def _completed(folder: Path, url: str | None) -> dict[str, int]:
    import optuna

    from resnet_lab.sweeps.queue import RUN
    from resnet_lab.sweeps.storage import open_storage
    from resnet_lab.sweeps.study_name import read_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, name = open_storage(url, folder / "runs/study"), read_study(folder / "runs/study")
    trials = optuna.load_study(study_name=name["study"], storage=storage).trials
    names = [trial.user_attrs[RUN] for trial in trials if trial.state.name == "COMPLETE"]
    return {name: names.count(name) for name in names}


def check_told(case: Case, command: Command, *words: str, codes: Sequence[int] = (1, 2)) -> None:
    """Check that a command failed with one message that contains these words."""
    case.expect(command.code in codes, f"exit code {command.code}")
    case.expect("Traceback" not in command.told, f"no message but {command.told[-1500:]}")
    lines = [line for line in command.told.splitlines() if line.startswith("resnet-lab: ")]
    case.expect(len(lines) == 1, f"{len(lines)} messages: {command.told[-1500:]}")
    for word in words:
        case.expect(lines and word in lines[-1], f"'{word}' is not in: {lines[-1:]}")


def rows_once(run: Path) -> bool:
    """Whether a run has no duplicate rows, compared by all columns except the value."""
    for name, schema in (("metrics", METRICS), ("layers", LAYERS)):
        frame = read_table(run / f"{name}.parquet", schema).to_pandas()
        keys = [key for key in frame.columns if key != "value"]
        if frame.duplicated(keys).any():
            return False
    return True


def clean(folder: Path) -> None:
    """Delete a folder that is no longer needed."""
    shutil.rmtree(folder, ignore_errors=True)
