"""A part: one value of an axis along which networks vary, with everything known about it.

The axes are fields of `NetworkSpec`: shortcut, ordering, norm, init, activation, padding, branch.
Network names, figure labels, parameter counts and weight checks are derived from the parts, so a
new value needs only its own file in `parts/`.

Parts import torch only to build a module: reading names and counting parameters do not need it.
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
        name: the value of the field in `NetworkSpec`, including its number if it takes one.
        token: its option in network names.
        said: its text in the label of a group of runs.
        takes: the smallest and the largest number that it takes; None if it takes none.
        number: its number, if it takes one.
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
        """Its text in the label of a group of runs: ``norm group``."""
        return self.said or f"{self.axis} {self.name}"

    @property
    def origin(self) -> Any:
        """The class or function that defines it; its source file is hashed."""
        return type(self)

    def with_number(self, digits: str) -> Self:
        """Return this part with the number `digits`, also in its name and token."""
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
    """The nonlinearity: after the stem, inside blocks and around their additions."""

    axis = "activation"
    default = "relu"

    @property
    def gain(self) -> float:
        """Weight variance gain that preserves the signal: 1 / E[f(z)^2], z ~ N(0, 1) (He 2015)."""
        return 2.0

    @property
    def gradient_growth(self) -> float | None:
        """Growth factor of activation gradients per layer towards the input, at initialisation.

        For wide plain batch-norm networks without border effects; None if no theory gives it.
        """
        return None

    @property
    def slope(self) -> float | None:
        """Slope for negative inputs if it is a leaky ReLU (0: ReLU), as in `cosine_map`."""
        return None

    def at_depth(self, depth: int) -> Self:
        """Return the activation for a network of `depth` layers."""
        return self

    def module(self, channels: int) -> nn.Module:
        """Return its module for maps of `channels`."""
        raise NotImplementedError

    def parameters(self, channels: int) -> int:
        """Return its number of parameters for maps of `channels`."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Norm(Part):
    """The normalisation, or what stands in for it.

    Attributes:
        bias: whether the convolution before it needs one.
        scale: initial value of a learnt scalar that multiplies F(x) in each block; None if it has
            none.
        zero: whether F(x) begins as 0.
    """

    axis = "norm"
    default = "batch"

    bias: bool = False
    scale: float | None = None
    zero: bool = False

    def module(self, channels: int) -> nn.Module:
        """Return its module for maps of `channels`."""
        raise NotImplementedError

    def parameters(self, channels: int) -> int:
        """Return its number of parameters for maps of `channels`."""
        return 0

    def placed(self, sequence: str) -> str:
        """Return the norms (N), activations (A) and convolutions (W) of a place, in order.

        `sequence` is what the ordering gives; W also stands for the classifier.
        """
        return sequence

    def weight_scale(self, place: WeightPlace) -> float:
        """Return the factor by which it multiplies the initial weights of one layer."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Branch(Part):
    """What is done to F(x) before the addition: y = after(branch(F(x)) + s(x)).

    `zero` says whether it begins as 0.
    """

    axis = "branch"
    default = "unscaled"

    zero: bool = False

    def module(self, block: BlockTable) -> nn.Module | None:
        """Return its module for a block; None leaves F(x) unchanged."""
        return None

    def parameters(self, block: BlockTable) -> int:
        """Return its number of parameters in a block."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Padding(Part):
    """The padding of a convolution's input.

    `mode` is torch's `padding_mode`; None if torch has none, so that `pad` does it.
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
        name: the layer's path in its network: "stage1.block2.conv1", "head.classifier".
        shape: (out, in, height, width); the classifier's is (out, in).
        gain: of the network's activation.
        depth: of the network, in layers.
        blocks: number of blocks in the network.
        block_depth: convolutions in a block: 2, or 3 in a bottleneck.
    """

    name: str
    shape: tuple[int, ...]
    gain: float
    depth: int
    blocks: int
    block_depth: int


@dataclass(frozen=True, kw_only=True)
class Initialisation(Part):
    """The initial weights of convolutions: normal with some std, or computed otherwise.

    `classifier`: whether it also sets the classifier's weights; otherwise they are He's, fan-in.
    """

    axis = "init"
    default = "fan-in"

    classifier: bool = False

    def std(self, shape: tuple[int, ...], gain: float) -> float:
        """Return the std for weights of shape (out, in, height, width), given the gain."""
        raise NotImplementedError

    def weights(self, place: WeightPlace, generator: torch.Generator) -> Tensor:
        """Return the weights of one layer, on the CPU so that all devices get the same values.

        Random numbers come only from `generator`, which is seeded by the run's seed and the layer.
        """
        import torch

        values = torch.randn(place.shape, generator=generator, device="cpu", dtype=torch.float32)
        return values * self.std(place.shape, place.gain)


Place = Literal["nothing", "identity", "padded", "projection"]


@dataclass(frozen=True, kw_only=True)
class Shortcut(Part):
    """What a block's input adds to its output (R 3.3).

    Attributes:
        kept: the shortcut of blocks that keep the shape of their input.
        changed: the shortcut of blocks that change it.
    """

    axis = "shortcut"
    default = "A"

    kept: Place = "identity"
    changed: Place = "padded"

    @property
    def has_parameters(self) -> bool:
        """Whether it adds parameters that the plain twin lacks."""
        return "projection" in (self.kept, self.changed)

    def module(self, block: BlockTable, identity: nn.Module) -> nn.Module:
        """Return s for a block; `identity` is the module that `kept` or `changed` names.

        Its forward returns s(x), or None to add nothing. A module may instead have a method
        `terms`, which takes x and branch(F(x)) and returns the two terms of the addition.
        """
        return identity

    def parameters(self, block: BlockTable) -> int:
        """Return its number of parameters in a block, without a projection's."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Ordering(Part):
    """The order of norms (N), activations (A) and convolutions (W) in a block.

    F is `unit`, once for each convolution, joined by `between`. `enter` precedes F; projections see
    its output, other shortcuts its input. `after` follows the addition. All are read from left to
    right. The first block's `enter` serves as the stem's norm and activation instead, and `enter`
    is applied once more before the head (I, appendix).
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
