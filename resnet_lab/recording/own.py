"""The user's own quantities: decorated functions in a file of parts.

    @rl.quantity("mean_activation", at="block")
    def mean_activation(measured):
        return measured.output.mean()

The function gets the tensors of one layer, block or network from a pass of the probe batch (see
`measured`) and returns a number. It cannot disturb training: it gets copies, and random states are
restored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_lab.errors import UserError
from resnet_lab.parts.files import line_in
from resnet_lab.recording.quantity import At, Quantity, register

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from resnet_lab.recording.measured import Measured
    from resnet_lab.recording.responses import Probe

Function = TypeVar("Function", bound=Callable[..., Any])

SEED = 0
"""Seed of random draws in a quantity: always the same, so that a run resumes exactly."""


def quantity(
    name: str, *, at: At, label: str = "", unit: str = "", logarithmic: bool = False
) -> Callable[[Function], Function]:
    """Decorator: register a function as a quantity that every run records.

    Args:
        name: its name in layers.parquet and everywhere else.
        at: call it for each "layer", each "block", or the "network".
        label: label on axes and in menus; by default its name in words.
        unit: shown after the label, in parentheses.
        logarithmic: whether its axis is logarithmic by default.

    Raises:
        UserError: the name is taken, `at` is unknown, or the function takes no argument.
    """

    def decorate(function: Function) -> Function:
        if not _takes_one(function):
            raise UserError(
                f"quantity '{name}': {function!r} must be a function of one argument, what was "
                "measured"
            )
        said = label or name.replace("_", " ")
        register(
            Quantity(
                name=name,
                at=at,
                needs="tensors",
                label=f"{said} ({unit})" if unit else said,
                formula=inspect.getdoc(function) or "",
                measure=partial(_measure, name, at, function),
                logarithmic=logarithmic,
                origin=function,
            )
        )
        return function

    return decorate


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return hasattr(inspect.unwrap(function), "__code__")


def _measure(name: str, at: At, function: Callable[[Measured], Any], probe: Probe) -> Tensor:
    """Call the function for every layer, block or network."""
    import torch

    from resnet_lab.recording.random_state import restored_random_state

    device = probe.response_std.device
    values = []
    for place in probe.kept[at]:
        with (
            restored_random_state(device, SEED),
            torch.autocast(device.type, enabled=False),
            torch.enable_grad(),
        ):
            try:
                value = function(place)
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                raise UserError(f"{_where(name, function, place, error)}: {told}") from error
            values.append(_scalar(value, device, _where(name, function, place)))
    return torch.stack(values)


def _where(
    name: str,
    function: Callable[[Measured], Any],
    place: Measured,
    error: Exception | None = None,
) -> str:
    code = inspect.unwrap(function).__code__
    line = (line_in(code.co_filename, error) if error else None) or code.co_firstlineno
    at = f" at {place.site.name}" if place.site.name else ""
    return f"quantity '{name}' fails{at} ({code.co_filename}, line {line})"


def _scalar(value: Any, device: torch.device, where: str) -> Tensor:
    import torch

    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()).to(device, torch.float32)
    if isinstance(value, Real):
        return torch.full((), float(value), dtype=torch.float32, device=device)
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
    raise UserError(
        f"{where}: it returns {type(value).__name__}{shape}; give a number or a tensor with one "
        "element, nan where there is none"
    )
