"""Responses and activation gradients of the probe batch; formulas in `responses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_lab.recording.quantity import Quantity, register
from resnet_lab.recording.sites import activation_sites, response_sites

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_lab.recording.responses import Probe


def _activation_gradient_norms(probe: Probe) -> Tensor:
    return probe.activation_gradient_norm


def _response_stds(probe: Probe) -> Tensor:
    return probe.response_std


def _variance_ratios(probe: Probe) -> Tensor | None:
    return probe.variance_ratio


register(
    Quantity(
        name="activation_gradient_norm",
        at="block",
        needs="probe",
        label="activation gradient norm",
        formula="norm of the gradient of the mean loss with respect to the block's output",
        measure=_activation_gradient_norms,
        sites=activation_sites,
        place=60,
    ),
    Quantity(
        name="response_std",
        at="layer",
        needs="probe",
        label="response std",
        formula="standard deviation of its output after its norm, before ReLU and addition "
        "(R Figure 7)",
        measure=_response_stds,
        sites=response_sites,
        place=70,
    ),
    Quantity(
        name="variance_ratio",
        at="block",
        needs="probe",
        label="variance of branch / shortcut",
        formula="variance of the branch / variance of the shortcut",
        measure=_variance_ratios,
        place=80,
    ),
)
