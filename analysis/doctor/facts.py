"""What is known of degradation on each data set: where it shows, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """Where degradation is known to show on a data set.

    `shallow` and `deep` are the depths between which it was seen, at `width` times the paper's;
    `least` is the depth up to which a plain network is known to train well. `chance` is the error
    of guessing, percent. `fact` says what was measured, and where it stands; `width_fact` says it
    of wider networks. `recipe` is the file of the recipe that the networks are to be trained by.
    """

    shallow: int
    least: int
    deep: int
    width: float
    chance: float
    fact: str
    recipe: str
    width_fact: str = ""


KNOWN = {
    "digits": Known(
        shallow=8,
        least=20,
        deep=56,
        width=1.0,
        chance=90.0,
        fact="on digits, at half width and n = 3, plain-8 and plain-20 train to 0 % error and "
        "plain-56 to 55 % (README)",
        recipe="experiments/digits.yaml",
        width_fact="at the paper's own width plain-56 still ended at 67.3 +- 15.2 % training error "
        "on digits, plain-8 at 0 % (n = 3); at twice that width at 84.0 % (n = 1): width alone "
        "does not explain it up to there",
    ),
    "cifar10": Known(
        shallow=20,
        least=20,
        deep=56,
        width=1.0,
        chance=90.0,
        fact="on CIFAR-10 degradation shows between 20 and 56 layers: after eight epochs plain-20 "
        "has 22 % training error and plain-56 60 % (README, n = 1); R Figure 6 has about 9 % and "
        "13 % test error at its end",
        recipe="experiments/cifar10_paper.yaml",
    ),
    "cifar100": Known(
        shallow=20,
        least=20,
        deep=56,
        width=1.0,
        chance=99.0,
        fact="R has no plain networks on CIFAR-100; on CIFAR-10, with images of the same size, "
        "degradation shows between 20 and 56 layers (R Figure 6)",
        recipe="experiments/cifar100_paper.yaml",
    ),
    "imagenet": Known(
        shallow=18,
        least=18,
        deep=34,
        width=1.0,
        chance=99.9,
        fact="on ImageNet plain-34 has 28.54 % validation error and plain-18 27.94 % (R Table 2)",
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
"""What the recipes of experiments/ say, by the names that frames of runs have; a test compares."""

NETWORK = {"norm": "batch", "ordering": "original", "init": "fan-in"}
"""Traits of the paper's networks that decide how gradients grow."""

EFFECTS = {
    "iterations": "R trained three times longer and the degradation stayed; a much shorter run "
    "compares how fast networks start",
    "lr": "over five rates plain-56 never got below 54 % on digits, but a pair at a rate that "
    "suits neither says little",
    "warmup_steps": "without its warm-up ResNet-56 ended at 9.7 % training error on digits, with "
    "it at 0.0 % (one seed each)",
    "clip": "a limit on the gradient norm stops the first, huge updates after which early layers "
    "freeze",
    "norm": "only with batch norm do gradients grow by 1.2 a layer and early layers freeze",
    "ordering": "pre-activation is another network than that of R",
}
"""Settings that are known to change whether degradation shows, with what is known."""

HARMLESS = {
    "precision": "bfloat16 moved training errors by 2.0 and 1.0 points in 176 iterations, two "
    "seeds differ by 2.7 and 3.9",
}
"""Settings that are known not to."""
