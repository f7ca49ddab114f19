"""Numbers measured by this project that the doctor quotes, each with its source.

A test compares them with the tables in results/ and with the README.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A final training error in percent: mean and sd over `n` seeds (sd 0 where n = 1)."""

    mean: float
    sd: float
    n: int

    @property
    def text(self) -> str:
        """Return ``58.3 +- 3.4 %``; without a spread where there is one seed."""
        return f"{self.mean:.1f} %" if self.n < 2 else f"{self.mean:.1f} +- {self.sd:.1f} %"


DIGITS = {
    "plain-8": Measured(0.00, 0.00, 3),
    "plain-20": Measured(0.24, 0.15, 3),
    "plain-56": Measured(58.31, 3.38, 3),
}
"""Digits at half width, lr 0.1: results/fair_tuning_digits, the demonstration's setting."""

DIGITS_WIDE = {"plain-8": Measured(0.00, 0.00, 3), "plain-56": Measured(77.08, 16.14, 3)}
"""Digits at the paper's own width, lr 0.1: results/digits_width."""

LOWEST_TUNED = Measured(54.10, 4.73, 3)
"""plain-56 at half width on digits, at the best of five rates: results/fair_tuning_digits."""

CIFAR10 = {"plain-20": Measured(21.57, 0.0, 1), "plain-56": Measured(60.30, 0.0, 1)}
"""CIFAR-10, eight epochs, bfloat16: results/cifar10_quick."""

WITHOUT_WARM_UP, WITH_WARM_UP = Measured(9.7, 0.0, 1), Measured(0.0, 0.0, 1)
"""ResNet-56 on digits, one seed each: the header of experiments/digits.yaml."""

BFLOAT16, SEEDS = (2.0, 1.0), (2.7, 3.9)
"""Points of training error after 176 iterations on CIFAR-10, plain-20 and resnet-20: bfloat16 and
float32 apart, two float32 seeds apart. From the header of experiments/cifar10_quick.yaml."""
