"""Training: from a configuration to a finished run directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resnet_lab.plotting  # noqa: F401  # before Lightning imports matplotlib

# isort: split
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from resnet_lab.configuration.config import Config
from resnet_lab.data.load import load_data
from resnet_lab.data.loader import Data
from resnet_lab.data.sampler import check_training_batch
from resnet_lab.errors import RunFailed, UserError
from resnet_lab.networks.weights import save_weights
from resnet_lab.rank import is_first_process
from resnet_lab.recording.recorder import Recorder
from resnet_lab.recording.schedule import recording_steps
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.tracking.agent import may_end_early
from resnet_lab.tracking.callback import MirrorCallback
from resnet_lab.tracking.mirror import Illustrate, Mirror, replay
from resnet_lab.training.batch_norm import check_batch_norms
from resnet_lab.training.checkpoint_files import Checkpoint, newest_checkpoint
from resnet_lab.training.checkpoints import Checkpointer
from resnet_lab.training.cohort import Cohort
from resnet_lab.training.device import choose_device
from resnet_lab.training.error_messages import in_words
from resnet_lab.training.interruption import Interruption, interruption_requested
from resnet_lab.training.launchers import launched
from resnet_lab.training.logger import Judge, RunLogger
from resnet_lab.training.loop import StretchedCohort, build_cohort, choose_loop
from resnet_lab.training.precision import resolve_auto
from resnet_lab.training.progress_bar import ProgressBar
from resnet_lab.training.run_info import run_info
from resnet_lab.training.trainer import make_trainer, quiet


def train(
    config: Config,
    *,
    judge: Judge | None = None,
    illustrate: Illustrate | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Path:
    """Train or resume a cohort and return its run directory.

    A finished run is not trained again. An interrupted one (Ctrl-C, SIGTERM, a crash) resumes from
    its last checkpoint. run.json gives its status at the end: "finished", "interrupted", or
    "stopped" by the judge.

    Args:
        config: what to train.
        judge: may end the run after any evaluation on the validation split but the last; a
            search prunes runs this way.
        illustrate: draws the pictures of the run that tracking sends; None sends none.
        callbacks: further Lightning callbacks, called after the project's own. One
            on_train_batch_end may follow many updates (see `loop`), and of the hooks within one
            only on_before_optimizer_step is called.

    Raises:
        UserError: the configuration does not fit the data, the machine or the directory, or
            tracking is requested and cannot start.
    """
    if not isinstance(config, Config):
        raise UserError(f"a {type(config).__name__} is nothing to train: give a Config")
    with launched(config.trainer):
        run = RunDirectory.of(config)
        if _is_finished(config, run, illustrate):
            return run.path
        _obey_early()
        mirror = Mirror.of(config, run, illustrate)
        device = choose_device(config.trainer.device, config.trainer.processes_here)
        data = load_data(config.data, config.data_dir)
        check_training_batch(
            config.recipe.batch_size, data.counts["train"], config.trainer.processes
        )
        check_batch_norms(config, data)
        loop = choose_loop(config.trainer, data, device)
        with run.held() if is_first_process() else nullcontext():
            if _is_finished(config, run, illustrate):  # by the process that held the lock until now
                return run.path
            _obey_early()
            checkpoint = newest_checkpoint(run)
            recipe = resolve_auto(config, data, device, checkpoint)
            cohort = build_cohort(config, data, recipe, loop)
            info = run_info(config, data, run, device, checkpoint)
            if checkpoint is not None:
                run.take_up(checkpoint.metrics, checkpoint.layers)
            if is_first_process():
                run.create(config)
            with _noted(run, info):
                _Training(config, run, data, device, cohort, info, checkpoint, mirror).fit(
                    judge, callbacks
                )
        return run.path


def _is_finished(config: Config, run: RunDirectory, illustrate: Illustrate | None) -> bool:
    """Whether the run is finished; if so, send tracking what it lacks."""
    known = run.read()
    if known is None or known.get("status") != "finished":
        return False
    replay(config, run, known, illustrate)
    return True


def _obey_early() -> None:
    """Stop now if a signal was received and stopping is possible; else the first step stops."""
    if interruption_requested() and may_end_early():
        raise KeyboardInterrupt


@contextmanager
def _noted(run: RunDirectory, info: dict[str, Any]) -> Iterator[None]:
    """Write run.json even if a new run ends before its first step."""
    try:
        yield
    except Exception as error:
        if is_first_process() and not (run.path / "run.json").exists():
            with suppress(OSError, RunFailed):
                run.write({**info, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


@dataclass(frozen=True)
class _Training:
    """Everything that training or resuming a run needs."""

    config: Config
    run: RunDirectory
    data: Data
    device: torch.device
    cohort: Cohort
    info: dict[str, Any]
    checkpoint: Checkpoint | None
    mirror: Mirror | None

    @property
    def start(self) -> int:
        """Updates made before this start."""
        return self.checkpoint.step if self.checkpoint is not None else 0

    def fit(self, judge: Judge | None, further: Sequence[pl.Callback]) -> None:
        """Train until the run finishes or is stopped, and write its status to run.json."""
        before = self.info["provenance"].get("wall_seconds") if self.checkpoint else None
        logger = RunLogger(
            self.run, self.info, self.data, self.config.seed, float(before or 0.0), judge
        )
        with Interruption() as interruption, quiet():
            if self.mirror is not None:
                self.mirror.start(self.info, self.start, interruption.request)
            callbacks = [*self._callbacks(logger, interruption), *further]
            trainer = make_trainer(self.config, callbacks, self.device)
            batches = self._batches(trainer, interruption)
            path = str(self.checkpoint.path) if self.checkpoint is not None else None
            try:
                # SIGTERM, or the second Ctrl-C: the logger has the status.
                with suppress(SIGTERMException, SystemExit):
                    trainer.fit(self.cohort, batches, ckpt_path=path, weights_only=True)
                ended = self._conclude(trainer, logger)
            except Exception as error:
                told = in_words(error, self.config, self.run.path, trainer.global_step)
                with suppress(OSError, RunFailed):  # disk full, or lock lost
                    logger.close(trainer, "failed", f"{type(told).__name__}: {told}")
                if self.mirror is not None:
                    self.mirror.close("failed", trainer.global_step)
                if told is error:
                    raise
                raise told from error
            if self.mirror is not None:
                self.mirror.close(ended, trainer.global_step)

    def _batches(self, trainer: pl.Trainer, interruption: Interruption) -> Iterable[Any]:
        if isinstance(self.cohort, StretchedCohort):
            self.cohort.interrupted = lambda: interruption.requested
            return self.cohort.stretches()
        return self.data.train_batches(
            seed=self.config.seed,
            batch_size=self.config.recipe.batch_size,
            start=lambda: self.start,
            stop=self.config.recipe.iterations,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            device=self.device if trainer.world_size == 1 else "cpu",
        )

    def _callbacks(self, logger: RunLogger, interruption: Interruption) -> list[pl.Callback]:
        """The callbacks, in the order in which they are called after each step."""
        recorder = self._recorder()
        checkpointer = Checkpointer(
            self.run,
            self.config.trainer.checkpoint_seconds,
            self.config.trainer.checkpoint_steps,
            interruption,
            saved=self.mirror.upload if self.mirror is not None else None,
            resumed=self.checkpoint.path if self.checkpoint is not None else None,
        )
        callbacks = [recorder, logger, checkpointer]
        if self.mirror is not None:
            callbacks.append(MirrorCallback(self.mirror, recorder))
        if self.config.trainer.progress:
            callbacks.append(ProgressBar())
        return callbacks

    def _recorder(self) -> Recorder:
        recording = self.config.recording
        size = min(recording.probe_size, self.data.counts["train"])
        size -= size % max(self.config.ghost_batch, 1)
        probes = recording.enabled and recording.probe
        probe_batch = self.data.probe_batch(size) if probes else None
        steps = recording_steps(self.config.recipe.iterations, recording)
        return Recorder(recording, steps, probe_batch, self.run.layers.extend)

    def _conclude(self, trainer: pl.Trainer, logger: RunLogger) -> str:
        """Save the weights of a finished run and what evaluation needs; return its status."""
        if logger.finished and trainer.is_global_zero:
            inputs = self.data.inputs().as_dict()
            for name, network in zip(self.cohort.names, self.cohort.networks, strict=True):
                save_weights(network, self.run.weights / f"{name}.pt", inputs=inputs)
        ended = "finished" if logger.finished else "stopped" if logger.stopped else "interrupted"
        logger.close(trainer, ended)
        return ended
