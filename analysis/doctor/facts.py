"""Known facts on degradation for each dataset: where it shows, and how certain that is."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.doctor.measured import (
    BFLOAT16,
    CIFAR10,
    DIGITS,
    DIGITS_WIDE,
    LOWEST_TUNED,
    SEEDS,
    WITH_WARM_UP,
    WITHOUT_WARM_UP,
)
from analysis.paper import load_paper


@dataclass(frozen=True)
class Known:
    """Where degradation is known to show on a dataset.

    `shallow` and `deep` are the depths between which it was seen, at `width` times the paper's;
    `least` is the depth up to which a plain network is known to train well. `chance` is the error
    of guessing, percent. `fact` says what was measured, and where it is recorded; `width_fact` is
    the same for wider networks. `recipe` is the file of the recipe to train the networks by.
    """

    fact: str
    recipe: str
    width_fact: str = ""
    shallow: int = 20
    least: int = 20
    deep: int = 56
    width: float = 1.0
    chance: float = 90.0


def published(network: str, data: str) -> str:
    """Return a network's published error in `analysis/paper.yaml` and its source, as text."""
    row = load_paper().result(network, data)
    assert row is not None, network
    spread = f", n = {row.n}" if row.n else ""
    return f"{row.text.replace('±', '+-')} % ({row.source}{spread})"


def wide_rescue() -> str:
    """Return the result of Li et al. on a deep plain network and one eight times as wide."""
    errors = {one.network: one for one in load_paper().results if one.source == "Li"}
    narrow, wide = errors["plain-56"], errors["plain-56-x8"]
    return (
        f"Width can make up for depth: on CIFAR-10 Li et al. 2018 have {narrow.text} % test error "
        f"for plain-56 and {wide.text} % for one eight times as wide (one run each)"
    )


KNOWN = {
    "digits": Known(
        shallow=8,
        fact="on digits, at half width and lr 0.1, training error ends at "
        f"{DIGITS['plain-8'].text} for plain-8, {DIGITS['plain-20'].text} for plain-20 and "
        f"{DIGITS['plain-56'].text} for plain-56 (n = {DIGITS['plain-56'].n}, README)",
        recipe="experiments/digits.yaml",
        width_fact="at the paper's own width plain-56 ended at "
        f"{DIGITS_WIDE['plain-56'].text} training error on digits and plain-8 at "
        f"{DIGITS_WIDE['plain-8'].text} (n = {DIGITS_WIDE['plain-56'].n}, results/digits_width); "
        f"wider networks were not measured here. {wide_rescue()}",
    ),
    "cifar10": Known(
        fact="on CIFAR-10 degradation shows between 20 and 56 layers: at the end of the paper's "
        f"schedule plain-20 has {published('plain-20', 'cifar10')} test error and plain-56 "
        f"{published('plain-56', 'cifar10')}; after eight epochs, which show how far the deep "
        f"network is behind at the start, {CIFAR10['plain-20'].text} and "
        f"{CIFAR10['plain-56'].text} training error (n = {CIFAR10['plain-56'].n}, README)",
        recipe="experiments/cifar10_paper.yaml",
        width_fact=f"wider networks were not measured by this project. {wide_rescue()}",
    ),
    "cifar100": Known(
        chance=99.0,
        fact="R has no plain networks on CIFAR-100; on CIFAR-10, with images of the same size, "
        "degradation shows between 20 and 56 layers (R Figure 6)",
        recipe="experiments/cifar100_paper.yaml",
    ),
    "imagenet": Known(
        shallow=18,
        least=18,
        deep=34,
        chance=99.9,
        fact=f"on ImageNet the validation error of plain-34 is {published('plain-34', 'imagenet')},"
        f" that of plain-18 {published('plain-18', 'imagenet')}, by ten crops of one run each",
        recipe="experiments/imagenet_paper.yaml",
    ),
}

CIFAR_RECIPE: dict[str, object] = {
    "iterations": 64_000,
    "batch_size": 128,
    "lr": 0.1,
    "drops": [32_000, 48_000],
    "drop_factor": 0.1,
    "plateau_patience": 0,
    "warmup_steps": 0,
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "clip": None,
    "ghost_batch": 64,
    "precise_bn": 12_800,
    "precision": "float32",
    "normalise": "pixel-mean",
    "augment": "paper",
}
RECIPES: dict[str, dict[str, object]] = {
    "experiments/cifar10_paper.yaml": CIFAR_RECIPE,
    "experiments/cifar100_paper.yaml": CIFAR_RECIPE,
    "experiments/imagenet_paper.yaml": {
        **CIFAR_RECIPE,
        "iterations": 600_000,
        "batch_size": 256,
        "drops": [],
        "plateau_patience": 8,
        "ghost_batch": 0,
        "precise_bn": 51_200,
    },
    "experiments/digits.yaml": {
        **CIFAR_RECIPE,
        "iterations": 192,
        "drops": [144],
        "warmup_steps": 40,
        "ghost_batch": 0,
        "precise_bn": 0,
        "augment": "none",
    },
}
"""Settings of the recipes in experiments/, under the frames' names; a test compares them."""

NETWORK = {"norm": "batch", "ordering": "original", "init": "fan-in"}
"""Traits of the paper's networks that determine how gradients grow."""


def longer_training() -> str:
    """Return R's statement on longer training, with its network and place."""
    said = load_paper().statements["longer training"]
    return f"{said.says} of {said.about} ({said.source})"


EFFECTS = {
    "iterations": f"{longer_training()}; a much shorter run compares how fast networks start",
    "lr": f"at the best of five rates plain-56 ended at {LOWEST_TUNED.text} training error on "
    f"digits (n = {LOWEST_TUNED.n}), but a pair at a rate that suits neither says little",
    "warmup_steps": f"without its warm-up ResNet-56 ended at {WITHOUT_WARM_UP.text} training error "
    f"on digits, with it at {WITH_WARM_UP.text} (one seed each)",
    "clip": "a limit on the gradient norm bounds the first updates, which are huge in deep plain "
    "networks with batch norm",
    "norm": "the growth of gradients towards the input by 1.2 a layer is that of plain networks "
    "with batch norm",
    "ordering": "pre-activation is another network than that of R",
}
"""Settings known to change whether degradation shows -> the evidence."""

HARMLESS = {
    "precision": "bfloat16 moved training errors of two networks of 20 layers by "
    f"{BFLOAT16[0]} and {BFLOAT16[1]} points in 176 iterations (n = 1), two seeds differ by "
    f"{SEEDS[0]} and {SEEDS[1]}",
}
"""Settings not known to change it -> the measurement."""
