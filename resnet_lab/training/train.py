"""From a configuration to a finished run directory. The only Trainer is made here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeGuard

import resnet_lab.plotting  # noqa: F401  # before Lightning, whose metrics import matplotlib

# isort: split
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from resnet_lab.configuration.config import Config, Loop
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.load import load_data
from resnet_lab.data.loader import Data
from resnet_lab.data.memory import InMemoryData
from resnet_lab.data.sampler import check_training_batch
from resnet_lab.errors import RunFailed, UserError
from resnet_lab.networks.complexity import Complexity, complexity
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.weights import save_weights
from resnet_lab.rank import is_first_process
from resnet_lab.recording.recorder import Recorder
from resnet_lab.recording.schedule import recording_steps
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.provenance import note_resumption, provenance
from resnet_lab.tracking.agent import may_end_early
from resnet_lab.tracking.callback import MirrorCallback
from resnet_lab.tracking.mirror import Illustrate, Mirror, replay
from resnet_lab.training.arithmetic import as_begun, choose_arithmetic
from resnet_lab.training.batch_norm import check_batch_norms, use_ghost_batches
from resnet_lab.training.checkpoint_files import Checkpoint, newest_checkpoint
from resnet_lab.training.checkpoints import Checkpointer
from resnet_lab.training.cohort import Cohort, make_optimizer
from resnet_lab.training.device import choose_device
from resnet_lab.training.failures import in_words
from resnet_lab.training.interruption import Interruption, interruption_requested
from resnet_lab.training.logbook import Judge, Logbook, device_in_words
from resnet_lab.training.loop import choose_loop
from resnet_lab.training.processes import launched
from resnet_lab.training.progress import ProgressBar
from resnet_lab.training.stretches import StretchedCohort, looks
from resnet_lab.training.trainer import make_trainer, quiet


def train(
    config: Config,
    *,
    judge: Judge | None = None,
    illustrate: Illustrate | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Path:
    """Train a cohort, or continue it, and return its run directory.

    A finished run is not trained again. An interrupted one (Ctrl-C, SIGTERM, a crash) continues
    from its last checkpoint. How it ended stands in run.json: "finished", "interrupted", or
    "stopped" by the judge.

    Args:
        config: what to train.
        judge: may end the run after any evaluation on the validation split but the last; a
            search does so with runs that are not worth their time.
        illustrate: draws the pictures of the run that tracking sends; none without it.
        callbacks: further ones for Lightning, called after the project's own. One
            on_train_batch_end may follow many updates (see `stretches`).

    Raises:
        UserError: the configuration does not fit the data, the machine or the directory, or
            tracking is asked for and cannot begin.
    """
    if not isinstance(config, Config):
        raise UserError(f"a {type(config).__name__} is nothing to train: give a Config")
    with launched(config.trainer):
        return _train(config, judge, illustrate, callbacks)


def _train(
    config: Config,
    judge: Judge | None,
    illustrate: Illustrate | None,
    callbacks: Sequence[pl.Callback],
) -> Path:
    run = RunDirectory.of(config)
    known = run.read()
    if _is_finished(known):
        replay(config, run, known, illustrate)
        return run.path
    _obey_early()
    mirror = Mirror.of(config, run, illustrate)
    device = choose_device(config.trainer.device, config.trainer.processes_here)
    data = load_data(config.data, config.data_dir)
    check_training_batch(config.recipe.batch_size, data.counts["train"], config.trainer.processes)
    check_batch_norms(config, data)
    loop = choose_loop(config.trainer, data, device)
    with run.held() if is_first_process() else nullcontext():
        known = run.read()
        if _is_finished(known):  # by a process that had it until now
            replay(config, run, known, illustrate)
            return run.path
        _obey_early()
        checkpoint = newest_checkpoint(run)
        recipe = _with_arithmetic(config, data, device, checkpoint)
        cohort = build_cohort(config, data, recipe, loop)
        info = _describe(config, data, run, device)
        if checkpoint is not None:
            info = _continued(checkpoint, known or {}, info["provenance"], device)
            run.take_up(checkpoint.metrics, checkpoint.layers)
        if known is not None and "tracking" in known:
            info["tracking"] = known["tracking"]
        if is_first_process():
            run.create(config)
        with _noted(run, info):
            return _fit(
                config, data, cohort, run, info, device, checkpoint, judge, mirror, callbacks
            )


def _obey_early() -> None:
    """End here if a signal has come, where that may be; else the run ends with its first step."""
    if interruption_requested() and may_end_early():
        raise KeyboardInterrupt


@contextmanager
def _noted(run: RunDirectory, info: dict[str, Any]) -> Iterator[None]:
    """Leave no directory without a run.json where a new run ends before its first step."""
    try:
        yield
    except Exception as error:
        if is_first_process() and not (run.path / "run.json").exists():
            with suppress(OSError, RunFailed):
                run.write({**info, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


def _is_finished(known: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return known is not None and known.get("status") == "finished"


def _with_arithmetic(
    config: Config, data: Data, device: torch.device, checkpoint: Checkpoint | None
) -> RecipeConfig:
    """The recipe without any "auto": as the run has begun, or as suits the machine."""
    recipe = config.recipe
    if checkpoint is not None:
        recipe = as_begun(recipe, checkpoint.info["provenance"])
    return choose_arithmetic(recipe, _sizes(config, data), device)


def build_cohort(
    config: Config, data: Data, recipe: RecipeConfig | None = None, loop: Loop = "plain"
) -> Cohort:
    """Build the members with the run's seed, fit to the data.

    Args:
        config: of the run.
        data: what it trains on.
        recipe: the run's with its arithmetic chosen; the configuration's own without.
        loop: what is to count the iterations.
    """
    recipe = recipe or config.recipe
    members: dict[str, Network] = {}
    for spec in config.specs():
        network = build_network(
            spec, num_classes=data.num_classes, in_channels=data.image_shape[0], seed=config.seed
        )
        if config.ghost_batch:
            use_ghost_batches(network, config.ghost_batch)
        members[spec.name] = network
    steps_per_epoch = -(-data.counts["train"] // config.recipe.batch_size)
    make_optimizer(recipe, list(members.values()), torch.device("cpu"))  # fails before a run begins
    if loop == "plain":
        return Cohort(members, recipe, steps_per_epoch)
    assert isinstance(data, InMemoryData)
    return StretchedCohort(
        members,
        recipe,
        steps_per_epoch,
        data=data,
        seed=config.seed,
        every=looks(config),
        recording_steps=recording_steps(config.recipe.iterations, config.recording),
        capture=loop == "graph",
    )


def _fit(
    config: Config,
    data: Data,
    cohort: Cohort,
    run: RunDirectory,
    info: dict[str, Any],
    device: torch.device,
    checkpoint: Checkpoint | None,
    judge: Judge | None,
    mirror: Mirror | None,
    further: Sequence[pl.Callback],
) -> Path:
    start = checkpoint.step if checkpoint else 0
    seconds = float(info["provenance"].get("wall_seconds") or 0.0) if checkpoint else 0.0
    logbook = Logbook(run, info, data, config.seed, seconds, judge)
    with Interruption() as interruption, quiet():
        if mirror is not None:
            mirror.start(info, start, interruption.request)
        callbacks = _callbacks(config, data, run, logbook, interruption, mirror, checkpoint)
        trainer = make_trainer(config, [*callbacks, *further], device)
        batches: Iterable[Any]
        if isinstance(cohort, StretchedCohort):
            cohort.interrupted = lambda: interruption.requested
            batches = cohort.stretches()
        else:
            batches = data.train_batches(
                seed=config.seed,
                batch_size=config.recipe.batch_size,
                start=lambda: start,
                stop=config.recipe.iterations,
                rank=trainer.global_rank,
                world_size=trainer.world_size,
                device=device if trainer.world_size == 1 else "cpu",
            )
        path = str(checkpoint.path) if checkpoint else None
        try:
            # SIGTERM, or the second Ctrl-C: the log book knows how far the run came.
            with suppress(SIGTERMException, SystemExit):
                trainer.fit(cohort, batches, ckpt_path=path, weights_only=True)
            ended = _conclude(trainer, cohort, run, logbook, data)
        except Exception as error:
            told = in_words(error, config, run.path, trainer.global_step)
            with suppress(OSError, RunFailed):  # what is full or another's now stays as it is
                logbook.close(trainer, "failed", f"{type(told).__name__}: {told}")
            if mirror is not None:
                mirror.close("failed", trainer.global_step)
            if told is error:
                raise
            raise told from error
        if mirror is not None:
            mirror.close(ended, trainer.global_step)
    return run.path


def _callbacks(
    config: Config,
    data: Data,
    run: RunDirectory,
    logbook: Logbook,
    interruption: Interruption,
    mirror: Mirror | None,
    checkpoint: Checkpoint | None,
) -> list[pl.Callback]:
    """What watches the training, in the order in which it is called after each step."""
    recorder = _recorder(config, data, run)
    checkpointer = Checkpointer(
        run,
        config.trainer.checkpoint_seconds,
        config.trainer.checkpoint_steps,
        interruption,
        saved=mirror.upload if mirror is not None else None,
        resumed=checkpoint.path if checkpoint is not None else None,
    )
    callbacks = [recorder, logbook, checkpointer]
    if mirror is not None:
        callbacks.append(MirrorCallback(mirror, recorder))
    if config.trainer.progress:
        callbacks.append(ProgressBar())
    return callbacks


def _conclude(
    trainer: pl.Trainer, cohort: Cohort, run: RunDirectory, logbook: Logbook, data: Data
) -> str:
    """Save the weights of a finished run with what evaluating them takes, and how it ended."""
    if logbook.finished and trainer.is_global_zero:
        inputs = data.inputs().as_dict()
        for name, network in zip(cohort.names, cohort.networks, strict=True):
            save_weights(network, run.weights / f"{name}.pt", inputs=inputs)
    ended = "finished" if logbook.finished else "stopped" if logbook.stopped else "interrupted"
    logbook.close(trainer, ended)
    return ended


def _recorder(config: Config, data: Data, run: RunDirectory) -> Recorder:
    recording = config.recording
    probes = recording.enabled and recording.probe
    size = min(recording.probe_size, data.counts["train"])
    size -= size % max(config.ghost_batch, 1)
    probe_batch = data.probe_batch(size) if probes else None
    steps = recording_steps(config.recipe.iterations, recording)
    return Recorder(recording, steps, probe_batch, run.layers.extend)


def _describe(
    config: Config, data: Data, run: RunDirectory, device: torch.device
) -> dict[str, Any]:
    """The contents of run.json before the first step."""
    return {
        "run": run.id,
        "name": run.path.name,
        "study": config.study,
        "status": "running",
        "error": None,
        "seed": config.seed,
        "iterations": config.recipe.iterations,
        "step": 0,
        "networks": _describe_members(config, data),
        "data": data.describe(),
        "provenance": {
            **provenance(device_in_words(device)),
            "threads": torch.get_num_threads(),
            "processes": config.trainer.processes,
        },
    }


def _continued(
    checkpoint: Checkpoint, known: dict[str, Any], here: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """The contents of run.json when a run goes on from a checkpoint."""
    info = {**checkpoint.info, "status": "running", "error": None}
    origin = known.get("provenance", info["provenance"])
    note_resumption(origin, here, checkpoint.step, _inexact(here["processes"], device))
    return {**info, "provenance": origin}


def _inexact(processes: int, device: torch.device) -> list[str]:
    """Why a run that goes on here may have other bits than one that was never interrupted."""
    reasons = []
    if device.type != "cpu" and not torch.are_deterministic_algorithms_enabled():
        reasons.append(f"{device.type}'s arithmetic is not deterministic")
    if processes > 2:
        reasons.append("gradients of more than two processes are added in another order")
    return reasons


def _describe_members(config: Config, data: Data) -> list[dict[str, Any]]:
    members = []
    for spec, size in zip(config.specs(), _sizes(config, data), strict=True):
        members.append(
            {
                "network": spec.name,
                "family": spec.family,
                "depth": spec.depth,
                "shortcut": spec.shortcut,
                "status": "running",
                "parameters": size.parameters,
                "multiply_adds": size.multiply_adds,
                "final": {},
            }
        )
    return members


def _sizes(config: Config, data: Data) -> list[Complexity]:
    return [
        complexity(
            spec,
            num_classes=data.num_classes,
            in_channels=data.image_shape[0],
            image_size=data.image_shape[1],
        )
        for spec in config.specs()
    ]
