"""The first training losses of a pair, as they were when this was written.

They pin initial values, data order, augmentation, arithmetic and schedule together. A change of
these numbers changes every result of the project: it needs a reason in the commit that makes it.
"""

from __future__ import annotations

import pytest
from tiny_runs import PLAIN, RESIDUAL, series, tiny

from resnet_lab.training.train import train

GOLDEN = {
    PLAIN: [
        *(2.416555, 2.309870, 2.365520, 2.451440, 2.332707),
        *(2.236869, 2.243790, 2.091043, 2.235383, 2.162671),
    ],
    RESIDUAL: [
        *(3.270554, 2.911874, 2.876569, 2.653149, 2.375348),
        *(2.255021, 2.351598, 2.187273, 2.302942, 2.348112),
    ],
}


def test_the_first_losses_are_those_of_the_first_day() -> None:
    run = train(tiny(iterations=10, batch_size=64, log_every=1, warmup_steps=4, drops=[8]))
    for name, losses in GOLDEN.items():
        assert list(series(run, name, "train", "loss").values()) == pytest.approx(losses, rel=1e-4)
