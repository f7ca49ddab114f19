"""Residual blocks, basic and bottleneck, in the five orderings of I Figure 4.

Every block is y = after(F(x) + shortcut(x)). In the formulas s is the shortcut, W_k the k-th of
K = 2 (basic) or 3 (bottleneck) convolutions, BN_k the norm named ``normK``, and functions apply
from right to left. A plain block has no s.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from resnet_lab.networks.norms import convolution, norm_layer
from resnet_lab.networks.shortcuts import Projection, build_shortcut
from resnet_lab.networks.spec import NetworkSpec, Stage


class Block(nn.Module):
    """y = after(F(x) + s(x)): children ``conv1, norm1, conv2, norm2, ..., shortcut``.

    `first` marks the network's first block: in the pre-activation orderings its leading norm and
    ReLU stand behind the stem, before the split into two paths (I, appendix).
    """

    def __init__(
        self, spec: NetworkSpec, stage: Stage, in_channels: int, stride: int, *, first: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.depth = 2 if spec.block == "basic" else 3
        for k, shape in enumerate(_shapes(spec, stage, in_channels, stride), start=1):
            conv = convolution(spec, *shape[:2], kernel=shape[2], stride=shape[3])
            self.add_module(f"conv{k}", conv)
            channels = self.norm_channels(k, conv)
            if channels:
                self.add_module(f"norm{k}", norm_layer(spec, channels))
        self.shortcut = build_shortcut(spec, in_channels, stage.out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        branch, shortcut = self.paths(x)
        return self.after(branch if shortcut is None else branch + shortcut)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return F(x) and s(x), the two terms of the addition; a plain block has no second.

        Projections see the pre-activated input where there is one, identities the block's own.
        """
        entered = self.enter(x)
        seen = entered if isinstance(self.shortcut, Projection) else x
        return self.residual(entered), self.shortcut(seen)

    def enter(self, x: Tensor) -> Tensor:
        """The leading activation of the pre-activation orderings; nothing in the others."""
        return x

    def residual(self, entered: Tensor) -> Tensor:
        """F after its leading activation."""
        raise NotImplementedError

    def after(self, total: Tensor) -> Tensor:
        """What follows the addition."""
        return total

    def norm_channels(self, k: int, conv: nn.Conv2d) -> int:
        """Channels of ``normK``: those that the k-th convolution puts out; 0 for no norm."""
        return conv.out_channels

    def conv(self, k: int, x: Tensor) -> Tensor:
        """W_k x."""
        output: Tensor = self.get_submodule(f"conv{k}")(x)
        return output

    def norm(self, k: int, x: Tensor) -> Tensor:
        """BN_k x."""
        output: Tensor = self.get_submodule(f"norm{k}")(x)
        return output


class Original(Block):
    """y = ReLU(BN_K W_K ... ReLU BN_1 W_1 x + s(x)) (R Figure 2; I Figure 4a)."""

    def residual(self, entered: Tensor) -> Tensor:
        """BN_K W_K ... ReLU BN_1 W_1."""
        x = entered
        for k in range(1, self.depth):
            x = relu(self.norm(k, self.conv(k, x)))
        return self.norm(self.depth, self.conv(self.depth, x))

    def after(self, total: Tensor) -> Tensor:
        """ReLU."""
        return relu(total)


class NormAfterAddition(Block):
    """y = ReLU BN_K(W_K ... ReLU BN_1 W_1 x + s(x)) (I Figure 4b)."""

    def residual(self, entered: Tensor) -> Tensor:
        """W_K ... ReLU BN_1 W_1."""
        x = entered
        for k in range(1, self.depth):
            x = relu(self.norm(k, self.conv(k, x)))
        return self.conv(self.depth, x)

    def after(self, total: Tensor) -> Tensor:
        """ReLU BN_K."""
        return relu(self.norm(self.depth, total))


class ReluBeforeAddition(Block):
    """y = ReLU BN_K W_K ... ReLU BN_1 W_1 x + s(x) (I Figure 4c)."""

    def residual(self, entered: Tensor) -> Tensor:
        """ReLU BN_K W_K ... ReLU BN_1 W_1."""
        x = entered
        for k in range(1, self.depth + 1):
            x = relu(self.norm(k, self.conv(k, x)))
        return x


class ReluPreactivation(Block):
    """y = BN_K W_K ReLU ... BN_1 W_1 ReLU x + s(x) (I Figure 4d)."""

    def enter(self, x: Tensor) -> Tensor:
        """ReLU, unless the stem has applied it."""
        return x if self.first else relu(x)

    def residual(self, entered: Tensor) -> Tensor:
        """BN_K W_K ReLU ... BN_1 W_1."""
        x = self.norm(1, self.conv(1, entered))
        for k in range(2, self.depth + 1):
            x = self.norm(k, self.conv(k, relu(x)))
        return x


class Preactivation(Block):
    """y = W_K ReLU BN_K ... W_1 ReLU BN_1 x + s(x) (I Equation 6 and Figure 4e)."""

    def enter(self, x: Tensor) -> Tensor:
        """ReLU BN_1, unless the stem has applied its own."""
        return x if self.first else relu(self.norm(1, x))

    def residual(self, entered: Tensor) -> Tensor:
        """W_K ReLU BN_K ... W_1."""
        x = self.conv(1, entered)
        for k in range(2, self.depth + 1):
            x = self.conv(k, relu(self.norm(k, x)))
        return x

    def norm_channels(self, k: int, conv: nn.Conv2d) -> int:
        """Each norm stands before its convolution; the first block has no ``norm1``."""
        return 0 if self.first and k == 1 else conv.in_channels


ORDERINGS: dict[str, type[Block]] = {
    "original": Original,
    "bn-after-addition": NormAfterAddition,
    "relu-before-addition": ReluBeforeAddition,
    "relu-preactivation": ReluPreactivation,
    "preactivation": Preactivation,
}


def build_block(
    spec: NetworkSpec, stage: Stage, in_channels: int, stride: int, *, first: bool
) -> Block:
    """Return one block of `stage` in the ordering of `spec`."""
    return ORDERINGS[spec.ordering](spec, stage, in_channels, stride, first=first)


def _shapes(
    spec: NetworkSpec, stage: Stage, in_channels: int, stride: int
) -> list[tuple[int, int, int, int]]:
    """(in, out, kernel, stride) of each convolution: R Figure 5, left basic, right bottleneck."""
    inner, outer = stage.channels, stage.out_channels
    if spec.block == "basic":
        return [(in_channels, inner, 3, stride), (inner, outer, 3, 1)]
    stride_1x1, stride_3x3 = (stride, 1) if spec.stride_in == "1x1" else (1, stride)
    return [
        (in_channels, inner, 1, stride_1x1),
        (inner, inner, 3, stride_3x3),
        (inner, outer, 1, 1),
    ]
