"""Logging of a training run: losses, errors, learning rates and the final results."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import pytorch_lightning as pl
import torch

from resnet_lab.configuration.schedules import after_validation_error
from resnet_lab.data.loader import Data
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.runs.provenance import now
from resnet_lab.training.batch_norm import estimate_precisely
from resnet_lab.training.cohort import Cohort
from resnet_lab.training.evaluation import Score, evaluate

EVALUATION_BATCH = 500
EVALUATION_BATCH_ON_GPU = 2500
"""Evaluation batch for small images, large enough to fill a GPU."""
LARGEST_SMALL_IMAGE = 64

Scores: TypeAlias = dict[str, dict[str, float]]
"""Network -> error, top5_error (percent) and loss on one split, without diverged networks."""
Judge: TypeAlias = Callable[[int, Scores], bool]
"""Given the step and the validation scores, return whether to end the run here."""


@dataclass
class RunLogger(pl.Callback):
    """Write metric rows at logging steps, evaluate, and keep run.json up to date.

    Every process evaluates its share; only rank 0 writes.

    Args:
        run: directory to write to.
        info: contents of run.json, kept up to date.
        data: training data of the cohort.
        seed: the run's seed.
        wall_seconds: time spent by earlier, interrupted parts of the run.
        judge: called after every evaluation but the last; it may end the run.

    Attributes:
        finished: whether the last evaluation has been written.
        stopped: whether the judge has ended the run.
    """

    run: RunDirectory
    info: dict[str, Any]
    data: Data
    seed: int
    wall_seconds: float = 0.0
    judge: Judge | None = None
    finished: bool = field(default=False, init=False)
    stopped: bool = field(default=False, init=False)
    _started: float = field(default=0.0, init=False)
    _first_step: int = field(default=0, init=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the start time and mark the run as running."""
        self._started, self._first_step = time.monotonic(), trainer.global_step
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Log, evaluate and update conditional schedules, each at its steps."""
        cohort, step = cast(Cohort, pl_module), trainer.global_step
        recipe = cohort.recipe
        last, evaluates = step == recipe.iterations, step % recipe.evaluate_every == 0
        logs = step % recipe.log_every == 0 or last
        cohort.update_warmup()
        if evaluates or last:
            cohort.average_running_statistics()
            cohort.examine()
        if logs or evaluates:
            cohort.freeze_diverged()
            last = last or not self._trained(cohort)
        if logs:
            self._log_training(trainer, cohort, recipe.log_every)
        if last:
            self._finish(trainer, cohort)
            trainer.should_stop = True
        elif evaluates:
            scores = self._evaluate(
                trainer, cohort, ["validation", "test"][: 1 + recipe.test_curve]
            )
            self.stopped = self._judged(trainer, scores["validation"])
            trainer.should_stop = trainer.should_stop or self.stopped

    def _judged(self, trainer: pl.Trainer, scores: Scores) -> bool:
        """Call the judge on rank 0 and broadcast its decision."""
        if self.judge is None or not scores:
            return False
        verdict = trainer.is_global_zero and self.judge(trainer.global_step, scores)
        return bool(trainer.strategy.broadcast(verdict))

    def _log_training(self, trainer: pl.Trainer, cohort: Cohort, window: int) -> None:
        losses, errors = cohort.window_means((trainer.global_step - 1) % window + 1)
        for i in self._trained(cohort):
            self._row(trainer, cohort, i, "train", "loss", losses[i])
            self._row(trainer, cohort, i, "train", "error", errors[i])
            self._row(trainer, cohort, i, "train", "lr", self._last_lr(trainer, i))

    @staticmethod
    def _trained(cohort: Cohort) -> list[int]:
        return [i for i in range(len(cohort.names)) if i not in cohort.frozen]

    @staticmethod
    def _last_lr(trainer: pl.Trainer, member: int) -> float:
        return float(trainer.optimizers[0].param_groups[member]["lr"])

    def _row(
        self, trainer: pl.Trainer, cohort: Cohort, i: int, split: str, metric: str, value: float
    ) -> None:
        if trainer.is_global_zero:
            self.run.metrics.append(
                network=cohort.names[i],
                step=trainer.global_step,
                epoch=trainer.global_step * cohort.recipe.batch_size / self.data.counts["train"],
                split=split,
                metric=metric,
                value=value,
            )

    def _evaluate(
        self, trainer: pl.Trainer, cohort: Cohort, splits: list[str], *, final: bool = False
    ) -> defaultdict[str, Scores]:
        """Score the members that still train on the available splits; return scores by split.

        At the end a member whose scores are not finite has diverged. Earlier it may recover, as
        its running statistics are still far from the true ones.
        """
        scores = {
            split: self._scores(trainer, cohort, split)
            for split in splits
            if self.data.counts.get(split)
        }
        if final:
            for i, score in ((i, s) for found in scores.values() for i, s in found.items()):
                loss = torch.tensor(score.loss, device=cohort.device)
                cohort.note_divergence(i, loss.isfinite())
            cohort.freeze_diverged()
        found: defaultdict[str, Scores] = defaultdict(dict)
        for split, of_members in scores.items():
            for i in self._trained(cohort):
                values = self._log_score(trainer, cohort, i, split, of_members[i])
                found[split][cohort.names[i]] = values
        return found

    def _scores(self, trainer: pl.Trainer, cohort: Cohort, split: str) -> dict[int, Score]:
        batches = self.data.evaluation_batches(
            split,
            batch_size=self._evaluation_batch(cohort.device),
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            device=cohort.device,
        )
        members = self._trained(cohort)
        scores = evaluate([cohort.networks[i] for i in members], batches, cohort.device)
        return dict(zip(members, scores, strict=True))

    def _evaluation_batch(self, device: torch.device) -> int:
        small = self.data.image_shape[1] <= LARGEST_SMALL_IMAGE
        return EVALUATION_BATCH_ON_GPU if small and device.type == "cuda" else EVALUATION_BATCH

    def _log_score(
        self, trainer: pl.Trainer, cohort: Cohort, i: int, split: str, score: Score
    ) -> dict[str, float]:
        values = {"loss": score.loss, "error": score.error}
        if self.data.num_classes >= 100:
            values["top5_error"] = score.top5_error
        for metric, value in values.items():
            self._row(trainer, cohort, i, split, metric, value)
        if split == "validation":
            cohort.progress[i] = after_validation_error(
                cohort.recipe, trainer.global_step, score.error, cohort.progress[i]
            )
        return values

    def _finish(self, trainer: pl.Trainer, cohort: Cohort) -> None:
        """Run the last evaluation; its error on the test split is the run's test error."""
        losses, errors = cohort.window_means(cohort.steps_per_epoch)
        self._estimate_statistics(trainer, cohort)
        scores = self._evaluate(trainer, cohort, ["validation", "test"], final=True)
        for i, member in enumerate(self.info["networks"]):
            member["status"] = "diverged" if i in cohort.frozen else "finished"
            if i not in cohort.frozen:
                member["final"].update(train_loss=losses[i], train_error=errors[i])
            for split, of_members in scores.items():
                values = of_members.get(member["network"], {})
                member["final"].update({f"{split}_{name}": v for name, v in values.items()})
        self.finished = True

    def _estimate_statistics(self, trainer: pl.Trainer, cohort: Cohort) -> None:
        steps = -(-cohort.recipe.precise_bn // cohort.recipe.batch_size)
        for i in self._trained(cohort) if steps else []:
            batches = self.data.train_batches(
                seed=self.seed,
                batch_size=cohort.recipe.batch_size,
                start=lambda: 0,
                stop=steps,
                rank=trainer.global_rank,
                world_size=trainer.world_size,
                device=cohort.device,
            )
            estimate_precisely(
                cohort.networks[i], (images.to(cohort.device) for images, _ in batches)
            )
        cohort.examine()
        cohort.freeze_diverged()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the contents of run.json to the checkpoint; both are written together."""
        self._bring_up_to_date(trainer)
        checkpoint["info"] = self.info

    def close(self, trainer: pl.Trainer, status: str, error: str | None = None) -> None:
        """Write the rows and the run's status: finished, stopped, interrupted or failed."""
        self.info.update(status=status, error=error)
        if trainer.is_global_zero:
            self.run.flush()  # first: a run is not finished before its rows are there
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        self._bring_up_to_date(trainer)
        if trainer.is_global_zero:
            self.run.write(self.info)

    def _bring_up_to_date(self, trainer: pl.Trainer) -> None:
        cohort = cast(Cohort, trainer.lightning_module)
        for i, member in enumerate(self.info["networks"]):
            member["diverged_at"] = cohort.diverged_at[i]
            member["warmup_ended_at"] = cohort.progress[i].warmup_ended_at
            member["drop_steps"] = list(cohort.progress[i].drop_steps)
        seconds = time.monotonic() - self._started if self._started else 0.0
        images = (trainer.global_step - self._first_step) * cohort.recipe.batch_size
        self.info["step"] = trainer.global_step
        self.info["provenance"].update(
            wall_seconds=round(self.wall_seconds + seconds, 3),
            images_per_second=round(images / seconds, 1) if images else None,
            precision=cohort.recipe.precision,
            compile=cohort.recipe.compile,
            loop=cohort.loop,
            updated=now(),
        )
