"""The networks that one run trains side by side, on the same batches.

The cohort minimises the sum of its members' losses. Members share no parameter, so each one's
gradient is exactly that of its own loss. One optimizer with one parameter group per member equals
separate optimizers, as each acts element by element or tensor by tensor. A test proves it bit for
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_lab.configuration.optimizers import OPTIMIZERS, Optimizer
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.configuration.schedules import ScheduleState, after_training_error, learning_rate
from resnet_lab.networks.network import Network
from resnet_lab.recording.norms import euclidean_norms
from resnet_lab.recording.sites import weight_sites
from resnet_lab.training.clipping import clip_gradients
from resnet_lab.training.evaluation import are_finite

NEVER = torch.iinfo(torch.int64).max


def make_optimizer(
    recipe: RecipeConfig, networks: Sequence[nn.Module], device: torch.device
) -> torch.optim.Optimizer:
    """Return the recipe's optimizer with one parameter group per network."""
    groups = [{"params": list(network.parameters())} for network in networks]
    made: torch.optim.Optimizer = OPTIMIZERS.get(recipe.optimizer).make(groups, recipe, device)
    return made


class Cohort(pl.LightningModule):
    """Train several networks on the same batches, each as if it were alone.

    Losses and errors of the last steps stay on the device in a ring buffer; the host reads them
    only at logging steps.

    Args:
        members: the networks, by name.
        recipe: how to train them.
        steps_per_epoch: iterations in which every training image is seen once (rounded up).

    Attributes:
        loop: which loop counts the iterations, as named in run.json; here Lightning's.
        at: updates made (1,), on the device, because an update may be replayed by a CUDA graph.
        names: names of the members.
        progress: state of each member's conditional schedules.
        diverged_at: for each member the step at which its loss, weights or running statistics
            were first found not finite; else None.
    """

    loop = "plain"
    at: Tensor
    losses: Tensor
    errors: Tensor
    first_bad: Tensor

    def __init__(
        self, members: dict[str, Network], recipe: RecipeConfig, steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.names = tuple(members)
        self.members = nn.ModuleList(members.values())
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.progress = [ScheduleState() for _ in self.names]
        self.diverged_at: list[int | None] = [None for _ in self.names]
        self.to(memory_format=torch.channels_last)
        size = max(steps_per_epoch, recipe.log_every, recipe.warmup_window)
        ring = torch.full((len(self.names), size), float("nan"))
        self.register_buffer("losses", ring)
        self.register_buffer("errors", ring.clone())
        self.register_buffer("first_bad", torch.full((len(self.names),), NEVER))
        self.at = torch.zeros(1, dtype=torch.int64)
        self._updates = 0
        self._forwards: list[Callable[[Tensor], Tensor]] = list(self.networks)
        if recipe.compile:
            self._forwards = [torch.compile(network) for network in self.networks]

    @property
    def global_step(self) -> int:
        """Updates made, by any loop."""
        return self._updates

    @property
    def networks(self) -> list[Network]:
        """The members, uncompiled."""
        return [cast(Network, member) for member in self.members]

    @property
    def frozen(self) -> set[int]:
        """Indices of the members that have diverged."""
        return {i for i, step in enumerate(self.diverged_at) if step is not None}

    def member_lr(self, member: int) -> float:
        """Learning rate of a member's next update."""
        return self.lr_at(member, self.global_step)

    def lr_at(self, member: int, step: int) -> float:
        """Learning rate of a member's update at `step`, if its progress does not change by then."""
        if member in self.frozen:
            return 0.0
        return learning_rate(self.recipe, step, self.progress[member])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimizer with one parameter group per member."""
        return make_optimizer(self.recipe, self.networks, self.device)

    @property
    def _part(self) -> Optimizer:
        return OPTIMIZERS.get(self.recipe.optimizer)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer without Lightning's wrapper."""
        return cast(torch.optim.Optimizer, self.optimizers(use_pl_optimizer=False))

    def scaled_gradient_norms(self, member: int) -> Tensor:
        """Norm of each weighted layer's gradient, scaled as the optimizer scales it; (L,)."""
        network, group = self.networks[member], self.optimizer.param_groups[member]
        weights = [
            network.get_parameter(f"{site.name}.weight") for site in weight_sites(network.spec)
        ]
        scaled = [
            self._part.scaled_gradient(weight, group, self.optimizer.state.get(weight, {}))
            for weight in weights
        ]
        return euclidean_norms(scaled)

    def on_train_start(self) -> None:
        """Copy the starting step to the device."""
        self.at = torch.full((1,), self._updates, device=self.device)

    def set_learning_rates(self) -> None:
        """Set every member's learning rate for the next update."""
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.member_lr(i)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Make one update on (images, labels)."""
        self.advance(*batch, watched=True)

    def advance(self, images: Tensor, labels: Tensor, *, watched: bool) -> None:
        """Make the next update with its learning rates, and count it."""
        self.set_learning_rates()
        self.update(images, labels, watched=watched)
        self.count(1)

    def count(self, updates: int) -> None:
        """Count updates on the host; `update` does so on the device."""
        self._updates += updates

    def update(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        watched: bool = False,
        lanes: Mapping[int, torch.cuda.Stream] | None = None,
    ) -> None:
        """Update all members on a batch; every loop calls this method.

        It reads no host value that changes between steps, so that a CUDA graph can capture it.

        Args:
            images: images of the batch.
            labels: labels of the images.
            watched: whether callbacks see the gradients, before any clipping.
            lanes: CUDA streams by member; the other members run on the current stream.
        """
        lanes = lanes or {}
        images = images.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        losses = []
        for member in self.training_members():
            with beside(lanes.get(member)):
                losses.append(self.learn(member, images, labels))
                if self.trainer.world_size == 1:  # member by member, to save memory
                    losses.pop().backward()  # type: ignore[no-untyped-call]
        if losses:  # distributed: one gradient reduction per update
            self.manual_backward(torch.stack(losses).sum())
        for lane in lanes.values():
            torch.cuda.current_stream().wait_stream(lane)
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks if watched else ():
            callback.on_before_optimizer_step(self.trainer, self, self.optimizer)
        self.limit_gradients()
        self.optimizer.step()
        self.at += 1

    def training_members(self) -> list[int]:
        """Indices of the members that take part in an update.

        Under data parallelism every parameter must take part in the gradients' reduction.
        """
        together = self.trainer.world_size > 1
        return [i for i in range(len(self.names)) if together or i not in self.frozen]

    def learn(self, member: int, images: Tensor, labels: Tensor) -> Tensor:
        """Return a member's loss on a batch, and store this step's loss and error."""
        loss, error = self.score(member, images, labels)
        slot = self.at % self.losses.shape[1]
        self.losses[member].index_copy_(0, slot, loss.detach().reshape(1))
        self.errors[member].index_copy_(0, slot, error.reshape(1))
        self.note_divergence(member, loss.isfinite())
        return loss

    def note_divergence(self, member: int, finite: Tensor) -> None:
        """Store this step as that of divergence, unless `finite` () or one is stored already."""
        first = self.first_bad[member]
        first.copy_(torch.minimum(first, torch.where(finite, NEVER, self.at[0])))

    def score(self, member: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a member's mean cross-entropy and its error in percent, in training mode."""
        narrow = self.recipe.precision == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=narrow):
            logits = self._forwards[member](images)
        logits = logits.float()
        guess = logits.detach()
        wrong = (guess.argmax(1) != labels) | ~are_finite(guess)
        return F.cross_entropy(logits, labels), 100 * wrong.float().mean()

    def limit_gradients(self) -> None:
        """Clip each member's gradients as the recipe says."""
        if self.recipe.clip is not None:
            for network in self.networks:
                clip_gradients(network, self.recipe.clip, self.recipe.clip_scope)

    def window_means(
        self, steps: int, *, all_processes: bool = True
    ) -> tuple[list[float], list[float]]:
        """Mean training loss and error (percent) of each member over the last `steps` updates.

        Args:
            steps: length of the window; steps not in the ring buffer are left out.
            all_processes: average over all ranks, each of which must call this.
        """
        count = min(steps, self.global_step, self.losses.shape[1])
        last = torch.arange(self.global_step - count, self.global_step, device=self.device)
        slots = last % self.losses.shape[1]
        means = torch.stack([self.losses[:, slots].mean(1), self.errors[:, slots].mean(1)])
        if all_processes:
            self._average_over_processes(means)
        losses, errors = means.tolist()
        return losses, errors

    def update_warmup(self) -> None:
        """Check the condition that ends the warm-up (R 4.2), every `warmup_window` updates."""
        recipe = self.recipe
        if recipe.warmup_until_error is None or self.global_step % recipe.warmup_window:
            return
        _, errors = self.window_means(recipe.warmup_window)
        for i, error in enumerate(errors):
            if i not in self.frozen:  # errors of frozen members are stale
                self.progress[i] = after_training_error(
                    recipe, self.global_step, error, self.progress[i]
                )

    def examine(self) -> None:
        """Note the members whose weights or running statistics are not finite.

        No later loss would show it for the last update or one just before an evaluation.
        """
        for i, network in enumerate(self.networks):
            finite = [value.isfinite().all() for value in network.state_dict().values()]
            self.note_divergence(i, torch.stack(finite).all())

    def freeze_diverged(self) -> None:
        """Stop training the members that have diverged; the others continue unaffected."""
        first_bad = self.first_bad.clone()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(first_bad, op=dist.ReduceOp.MIN)
        for i, step in enumerate(first_bad.tolist()):
            if step != NEVER and self.diverged_at[i] is None:
                self.diverged_at[i] = step
                self._freeze(i)

    def _freeze(self, member: int) -> None:
        if self.trainer.world_size == 1:
            self.networks[member].requires_grad_(False)
            for parameter in self.networks[member].parameters():
                parameter.grad = None

    def average_running_statistics(self) -> None:
        """Set the running batch-norm statistics to their mean over processes."""
        for network in self.networks:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    self._average_over_processes(buffer)

    @staticmethod
    def _average_over_processes(values: Tensor) -> None:
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(values)
            values /= dist.get_world_size()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the state that state dicts do not hold."""
        checkpoint["cohort"] = {
            "names": list(self.names),
            "progress": [vars(progress) for progress in self.progress],
            "diverged_at": list(self.diverged_at),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore schedules, frozen members and the update count, from any loop."""
        self._updates = checkpoint["global_step"]
        state = checkpoint["cohort"]
        assert tuple(state["names"]) == self.names
        self.progress = [ScheduleState(**values) for values in state["progress"]]
        self.diverged_at = list(state["diverged_at"])
        for member in self.frozen:
            self._freeze(member)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Move a batch to the device, if it was not made there."""
        return tuple(part.to(device, non_blocking=True) for part in cast(Sequence[Tensor], batch))


@contextmanager
def beside(lane: torch.cuda.Stream | None) -> Iterator[None]:
    """Queue work on stream `lane`, after all work queued so far; None: on the current stream."""
    if lane is None:
        yield
        return
    lane.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(lane):
        yield
