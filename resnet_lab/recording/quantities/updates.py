"""The optimizer's actual updates, by layer; formulas in `gradients`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.moments import AfterUpdate


def _update_norms(now: AfterUpdate) -> Tensor:
    from resnet_lab.recording.gradients import update_norms

    return update_norms(now.network, now.before)


def _update_angles(now: AfterUpdate) -> Tensor:
    from resnet_lab.recording.gradients import update_angles

    return update_angles(now.network, now.before)


register(
    Quantity(
        name="update_norm",
        at="layer",
        needs="update",
        label="update norm |Δw|",
        formula="norm of the change that the optimizer really made (momentum and decay included); "
        "over `weight_norm` it is the true relative update",
        measure=_update_norms,
        place=40,
    ),
    Quantity(
        name="update_angle",
        at="layer",
        needs="update",
        label="update angle (radians)",
        formula="angle in radians between the weights before and after that step; below about 1e-7 "
        "it is float32's rounding; runs recorded before it existed lack it",
        measure=_update_angles,
        place=50,
    ),
)
