"""Optimizers by name: the project's, in `training/optimizers`, and the user's own.

    @rl.optimizer("adamw2")                    # recipe.optimizer adamw2
    def adamw2(parameters, recipe):
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)

Torch is imported only when an optimizer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from resnet_lab.errors import UserError
from resnet_lab.parts.registry import Registry

if TYPE_CHECKING:
    import torch

    from resnet_lab.configuration.recipe import RecipeConfig

SETTINGS = ("momentum", "nesterov", "weight_decay", "beta2", "eps", "trust_coefficient")
"""Recipe fields that only some optimizers use. All use lr."""

Groups: TypeAlias = list[dict[str, Any]]
"""Torch parameter groups, one per member of a cohort."""
Function = TypeVar("Function", bound=Callable[..., Any])


class Optimizer:
    """One optimizer and its metadata.

    It must treat parameters or groups separately, so that each member trains as if it were alone.

    Attributes:
        name: the value of recipe.optimizer.
        settings: those of `SETTINGS` that it uses; recipes that set others are refused.
    """

    name: str
    settings: ClassVar[tuple[str, ...]] = SETTINGS

    @property
    def origin(self) -> Any:
        """The class or function whose file defines it."""
        return type(self)

    def make(self, groups: Groups, recipe: RecipeConfig, device: torch.device) -> Any:
        """Return a torch optimizer of these groups, in this order, on `device`."""
        raise NotImplementedError

    def scaled_gradient(
        self, weight: torch.Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
    ) -> torch.Tensor:
        """Return the tensor that lr multiplies in a step from this gradient alone.

        Momentum and weight decay aside. The quantity `relative_update` is lr times its norm over
        the weight's norm: here lr |g| / |w|, as for SGD.

        Args:
            weight: with its gradient in `.grad`.
            group: its parameter group.
            state: its optimizer state before the step; empty before the first.
        """
        assert weight.grad is not None
        return weight.grad


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", "resnet_lab.training.optimizers")


def register(part: Optimizer) -> None:
    """Register an optimizer under its name.

    Raises:
        UserError: the name is taken.
    """
    OPTIMIZERS.add(part.name, part, part.origin)


def optimizer(name: str) -> Callable[[Function], Function]:
    """Decorator: register a function as an optimizer for recipes.

    The function gets the parameter groups, one for each network that trains, and the recipe. It
    returns a torch optimizer of all of them. The learning rate is set before every update.

    Args:
        name: the value of recipe.optimizer.

    Raises:
        UserError: the name is taken, or the decorated object is not callable.
    """

    def decorate(function: Function) -> Function:
        if not callable(function):
            raise UserError(f"optimizer '{name}': {function!r} is no function")
        register(_Own(name, function))
        return function

    return decorate


@dataclass(frozen=True)
class _Own(Optimizer):
    """The user's optimizer. The settings it uses are known once it has been made."""

    name: str
    function: Callable[..., Any]

    @property
    def origin(self) -> Any:
        """The user's function."""
        return self.function

    def make(self, groups: Groups, recipe: RecipeConfig, device: torch.device) -> Any:
        """Call the function, and check what it returns and which settings it has read."""
        import torch

        watched = _Reads(recipe)
        try:
            made = self.function([dict(group) for group in groups], watched)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"optimizer '{self.name}' fails: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise UserError(
                f"optimizer '{self.name}' returned a {type(made).__name__}: return a "
                "torch.optim.Optimizer"
            )
        if [list(map(id, one["params"])) for one in made.param_groups] != [
            list(map(id, one["params"])) for one in groups
        ]:
            raise UserError(
                f"optimizer '{self.name}' has other parameter groups than it was given: hand "
                "`parameters` on as they are, one group for each network"
            )
        check_settings(recipe, watched.names, self.name)
        return made


class _Reads:
    """A recipe that notes which of its fields are read."""

    def __init__(self, recipe: RecipeConfig) -> None:
        self._recipe = recipe
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._recipe, name)


def check_settings(recipe: RecipeConfig, used: set[str] | tuple[str, ...], name: str) -> None:
    """Refuse recipe settings that the optimizer `name` does not use.

    Raises:
        UserError: the recipe sets one.
    """
    for setting in SETTINGS:
        value = getattr(recipe, setting)
        if setting not in used and value != getattr(type(recipe), setting):
            known = ", ".join(["lr", *(one for one in SETTINGS if one in used)])
            raise UserError(
                f"recipe.{setting} is {value}, but the optimizer '{name}' does not use it: leave "
                f"it out. It uses {known}"
            )
