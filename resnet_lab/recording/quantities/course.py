"""Where updates lead, by layer: away from the start, and along the gradient or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.moments import AfterUpdate


def _angles_from_start(now: AfterUpdate) -> Tensor | None:
    from resnet_lab.recording.gradients import update_angles

    return update_angles(now.network, now.start) if now.start else None


def _update_cosines(now: AfterUpdate) -> Tensor:
    from resnet_lab.recording.gradients import update_cosines

    return update_cosines(now.network, now.before, now.gradients)


register(
    Quantity(
        name="angle_from_start",
        at="layer",
        needs="start",
        label="angle from the initial weights (radians)",
        formula="angle in radians between the initial weights and those after that step: exact, "
        "and at most the sum of the `update_angle`s of all steps",
        measure=_angles_from_start,
        place=52,
        default=False,
    ),
    Quantity(
        name="update_cosine",
        at="layer",
        needs="descent",
        label="cosine of update and -gradient",
        formula="cosine of the change that the optimizer made and the negative mini-batch "
        "gradient: 1 for a plain gradient step, near 0 where momentum or weight decay make it",
        measure=_update_cosines,
        place=54,
        logarithmic=False,
        default=False,
    ),
)
