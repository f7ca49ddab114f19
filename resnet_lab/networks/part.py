"""A part: one value of what may vary in a network, with all that the rest needs to know of it.

What may vary are the axes, fields of `NetworkSpec`: shortcut, ordering, norm, init, activation,
padding, branch. Names of networks, labels of figures, counts of parameters and checks of weights
are derived from the parts, so a new value touches its own file in `parts/` and nothing else.

Parts know no torch until a module is asked for: names are read and networks counted without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from resnet_lab.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from resnet_lab.networks.architecture import BlockTable


@dataclass(frozen=True, kw_only=True)
class Part:
    """One value of an axis.

    Attributes:
        name: the value of the field in `NetworkSpec`; with a number behind it where it takes one.
        token: how a network's name says it.
        said: how the label of a group of runs says it.
        takes: the smallest and the largest number that it takes; None if it takes none.
        number: the one that it has.
    """

    axis: ClassVar[str]
    default: ClassVar[str]

    name: str
    token: str
    said: str = ""
    takes: tuple[float, float] | None = None
    number: float = float("nan")

    @property
    def label(self) -> str:
        """How the label of a group of runs says it: ``norm group``."""
        return self.said or f"{self.axis} {self.name}"

    @property
    def origin(self) -> Any:
        """The class or function whose file defines what it does."""
        return type(self)

    def with_number(self, digits: str) -> Self:
        """Return this part with the number that `digits` write; in its name and token too."""
        assert self.takes is not None
        low, high = self.takes
        number = float(digits)
        if not low <= number <= high:
            raise UserError(f"{self.axis} '{self.name}{digits}': give {low:g} to {high:g}")
        written = repr(number).removesuffix(".0")
        said = f"{self.said} {written}" if self.said else ""
        return replace(
            self, name=self.name + written, token=self.token + written, said=said, number=number
        )


@dataclass(frozen=True, kw_only=True)
class Activation(Part):
    """The nonlinearity, behind the stem, inside blocks and around their additions."""

    axis = "activation"
    default = "relu"

    @property
    def gain(self) -> float:
        """What makes weights keep the signal: 1 / E[f(z)^2] for a standard normal z (He 2015)."""
        return 2.0

    @property
    def gradient_growth(self) -> float | None:
        """How much activation gradients grow a layer towards the input at initialisation.

        In plain batch-norm networks of great width without a border; None where no theory says it.
        """
        return None

    def at_depth(self, depth: int) -> Self:
        """Return it as a network of `depth` layers has it."""
        return self

    def module(self, channels: int) -> nn.Module:
        """Return it for maps of `channels`."""
        raise NotImplementedError

    def parameters(self, channels: int) -> int:
        """Return how many parameters of its own it has for maps of `channels`."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Norm(Part):
    """The normalisation; `bias` says whether the convolution before it needs one."""

    axis = "norm"
    default = "batch"

    bias: bool = False

    def module(self, channels: int) -> nn.Module:
        """Return it for maps of `channels`."""
        raise NotImplementedError

    def parameters(self, channels: int) -> int:
        """Return how many parameters of its own it has for maps of `channels`."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Branch(Part):
    """What is done to F(x) before the addition: y = after(branch(F(x)) + s(x))."""

    axis = "branch"
    default = "unscaled"

    def module(self, block: BlockTable) -> nn.Module | None:
        """Return it for a block; None leaves F(x) as it is."""
        return None

    def parameters(self, block: BlockTable) -> int:
        """Return how many parameters of its own it has in a block."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Padding(Part):
    """What lies around a map that a convolution sees.

    `mode` is torch's word for it; None where torch has none, and `pad` does it.
    """

    axis = "padding"
    default = "zeros"

    mode: Literal["zeros", "circular", "reflect", "replicate"] | None

    def pad(self, x: Tensor, margin: int) -> Tensor:
        """Return `x` with `margin` more pixels on each side."""
        raise NotImplementedError


@dataclass(frozen=True)
class WeightPlace:
    """The weights that an initialisation sets.

    Attributes:
        name: of the layer in its network: "stage1.block2.conv1", "head.classifier".
        shape: (out, in, height, width); of the classifier (out, in).
        gain: of the network's activation.
        depth: of the network, in layers.
        blocks: how many the network has.
        block_depth: convolutions of a block: 2, or 3 of a bottleneck.
    """

    name: str
    shape: tuple[int, ...]
    gain: float
    depth: int
    blocks: int
    block_depth: int


@dataclass(frozen=True, kw_only=True)
class Initialisation(Part):
    """The initial weights of convolutions: normal with a std, or anything.

    `classifier` says whether it sets the classifier's as well; else they are He's, fan-in.
    """

    axis = "init"
    default = "fan-in"

    classifier: bool = False

    def std(self, shape: tuple[int, ...], gain: float) -> float:
        """Return it for weights of shape (out, in, height, width) and an activation's `gain`."""
        raise NotImplementedError

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return the weights of a place, on the CPU so that devices agree.

        What is random comes from `generator` alone, which knows the seed and the place.
        """
        import torch

        values = torch.randn(place.shape, generator=generator, device="cpu", dtype=torch.float32)
        return values * self.std(place.shape, place.gain)


Place = Literal["nothing", "identity", "padded", "projection"]


@dataclass(frozen=True, kw_only=True)
class Shortcut(Part):
    """What a block's input adds to its output (R 3.3).

    Attributes:
        kept: where the block keeps the shape of its input.
        changed: where it changes it.
    """

    axis = "shortcut"
    default = "A"

    kept: Place = "identity"
    changed: Place = "padded"

    @property
    def has_parameters(self) -> bool:
        """Whether a network has parameters by it that its twin lacks."""
        return "projection" in (self.kept, self.changed)

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return s for a block; `identity` is what `kept` or `changed` says.

        Its forward returns s(x), or None to add nothing. One with a method `terms` does more: that
        gets x and branch(F(x)), and returns the two terms of the addition.
        """
        return identity

    def parameters(self, block: BlockTable) -> int:
        """Return how many parameters of its own it has in a block, but for a projection's."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Ordering(Part):
    """Where norms (N) and activations (A) stand around the convolutions (W) of a block.

    F is `unit`, once for each convolution, joined by `between`; `enter` comes before it and is part
    of no shortcut but projections; `after` follows the addition. All are read from left to right.
    In the network's first block `enter` stands behind the stem instead, whose own norm and
    activation are that, and once more before the head (I, appendix).
    """

    axis = "ordering"
    default = "original"

    unit: str
    between: str
    enter: str = ""
    after: str = ""

    def sequence(self, depth: int) -> tuple[str, str, str]:
        """Return `enter`, F and `after` of a block with `depth` convolutions."""
        return self.enter, self.between.join([self.unit] * depth), self.after
