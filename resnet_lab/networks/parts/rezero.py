"""ReZero (Bachlechner et al. 2021): y = after(s(x) + alpha F(x)) without any norm.

alpha is learnt and begins at 0. ReZero stands in for the norm: ``resnet-56-rezero`` is
``resnet-56-nonorm-skipinit``, so convolutions have biases and each block has one learnt scalar.
SkipInit alone adds the scalar and leaves the norm that the name says. The paper has no activation
behind the addition (its equation 1); R's order has one, and ``resnet-56-relubefore-rezero`` is the
paper's form.
"""

from __future__ import annotations

from resnet_lab.networks.parts.norms import NoNorm
from resnet_lab.networks.registry import register

register(NoNorm(name="rezero", token="rezero", said="ReZero", bias=True, scale=0.0, zero=True))
