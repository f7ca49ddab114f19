"""Norms of gradients and weights before an update, by layer; formulas in `gradients`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.moments import BeforeUpdate


def _gradient_norms(now: BeforeUpdate) -> Tensor:
    return now.gradient_norms


def _weight_norms(now: BeforeUpdate) -> Tensor:
    return now.weight_norms


def _relative_updates(now: BeforeUpdate) -> Tensor:
    from resnet_lab.recording.gradients import relative_updates

    return relative_updates(now.scaled(), now.weight_norms, now.lr)


register(
    Quantity(
        name="gradient_norm",
        at="layer",
        needs="gradients",
        label="gradient norm |g|",
        formula="Euclidean norm of the mini-batch gradient of the weights, before any clipping",
        measure=_gradient_norms,
        place=10,
        curves=True,
    ),
    Quantity(
        name="weight_norm",
        at="layer",
        needs="gradients",
        label="weight norm |w|",
        formula="norm of the weights before the update",
        measure=_weight_norms,
        place=30,
    ),
    Quantity(
        name="relative_update",
        at="layer",
        needs="gradients",
        label="relative update lr |g| / |w|",
        formula="lr x gradient norm / weight norm",
        measure=_relative_updates,
        place=20,
        curves=True,
    ),
)
