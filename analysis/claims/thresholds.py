"""The thresholds of claims in one table, each with its date and the data it was set on.

A threshold that was set after its data had been seen says so. docs/claims.md shows this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.text import markdown_table


@dataclass(frozen=True)
class Threshold:
    """One number that a verdict turns on: `claims` are ids, `day` is when it was set.

    `seen` names the data known on that day: verdicts on them may not be independent of it.
    """

    claims: tuple[str, ...]
    name: str
    value: float
    unit: str
    day: str
    seen: str
    why: str


CHANCE_SHARE = 0.9
"""Share of the error of guessing at or above which a network has not learnt."""

REVERSAL_MARGIN = 1.0
"""Percentage points of training error by which a deeper residual network may be worse than a
shallower one and still count as not worse."""

TIE_MARGIN = 1.0
"""Percentage points of test error within which two networks tie."""

SHORTCUT_MARGIN = 1.0
"""Percentage points of test error within which shortcuts differ little, and by which plain must
be worse than each of them."""

PUBLISHED_ORDER = 0.33
"""R Table 3's B minus C on ImageNet, percentage points of top-1 error."""

SHORTCUT_DEPTH = 56
"""Most layers at which the claim on shortcuts is tested."""

FITTED = 0.1
"""Percent of training error below which the training data are fitted."""

GREAT_DEPTH = 100
"""Fewest layers that count as great depth."""

RATE_MARGIN = 0.03
"""Largest distance of a growth per layer from the theory's, in natural logarithms, that counts as
agreement."""

FLAT = 0.0
"""Slope of training error over predicted growth above which an error follows the dose."""

FIRST = 16
"""The step from which on the angle of claim 9 is summed."""

STILL = 0.1
"""Radians that a frozen stem travels at most: it stays within 6 degrees of its direction."""

SLOWER = 0.1
"""The plain stem's angle over its twin's below which only the plain network counts as frozen."""

DEEP = 20
"""Only plain networks with more layers are said to freeze."""

VANISHING = 0.98
"""Growth per layer, over padding's prediction, below which gradients vanish. Between it and its
inverse, padding explains the growth."""

PAIR_MARGIN = 1.0
"""Percentage points of training and of test error within which a plain network and its residual
twin tie, and by which either may be worse in one error and still count as not worse."""

ALL_MEANS: tuple[str, ...] = (
    *("1-degradation", "2-reversal", "3-tie-when-shallow", "4-shortcuts"),
    *("6-overfitting", "11-preactivation"),
)

POINT = "point"
DEMO = "digits and one seed of CIFAR-10 over eight epochs"
FREEZE_RUNS = "plain-20, -56 and -110 on CIFAR-10, seed 0, step 0"
ANGLES = "plain-56 and resnet-56 on digits, seed 0, 300 iterations: 0.041 and 0.85 radians"

THRESHOLDS = (
    Threshold(
        ALL_MEANS,
        "learnt",
        CHANCE_SHARE,
        "of the error of guessing",
        "2026-11-27",
        DEMO,
        "the doctor's own limit; an epoch's noise on 1,294 images is 0.8 points",
    ),
    Threshold(
        ("2-reversal",),
        "not worse",
        REVERSAL_MARGIN,
        f"{POINT} of training error",
        "2026-11-24",
        DEMO,
        "a third of what degradation costs between 20 and 56 layers",
    ),
    Threshold(
        ("3-tie-when-shallow",),
        "tie",
        TIE_MARGIN,
        f"{POINT} of test error",
        "2026-11-24",
        "R Table 2",
        "R's 18 layers differ by 0.06",
    ),
    Threshold(
        ("4-shortcuts",),
        "far, and alike",
        SHORTCUT_MARGIN,
        f"{POINT} of test error",
        "2026-11-24",
        "R Table 3",
        "R's A, B and C differ by 0.84 in all, and plain is 3.51 worse than A",
    ),
    Threshold(
        ("4-shortcuts",),
        "deepest",
        SHORTCUT_DEPTH,
        "layers",
        "2026-11-27",
        "I Table 1",
        "at 110 layers C has 12.22 % and A 6.61 %: R's order is one of 34 layers",
    ),
    Threshold(
        ("6-overfitting",),
        "fitted",
        FITTED,
        "% of training error",
        "2026-11-24",
        "R 4.2",
        "R's own number for 1202 layers",
    ),
    Threshold(
        ("11-preactivation",),
        "great depth",
        GREAT_DEPTH,
        "layers",
        "2026-11-24",
        "I Table 3",
        "the claim's own range begins at 110",
    ),
    Threshold(
        ("7-gradients",),
        "growth",
        1,
        "a layer",
        "2026-11-24",
        f"{FREEZE_RUNS}: 1.05 to 1.21",
        "above it gradients grow towards the input, below it they vanish",
    ),
    Threshold(
        ("8-explosion-rate",),
        "at the rate",
        100 * RATE_MARGIN,
        "% a layer",
        "2026-11-24",
        f"{FREEZE_RUNS}: 1.19 to 1.21 in the first stage",
        "over the 18 convolutions of a stage of 56 layers it is a factor of 1.7",
    ),
    Threshold(
        ("9-freeze",),
        "not deep",
        DEEP,
        "layers or fewer",
        "2026-11-24",
        f"{FREEZE_RUNS}: the 20 layers did not freeze by the measure of then",
        "R's 20 plain layers train well",
    ),
    Threshold(
        ("9-freeze",),
        "summed from step",
        FIRST,
        "on",
        "2026-11-27",
        ANGLES,
        "momentum 0.9 has forgotten most of the first updates: 0.9^16 = 0.19",
    ),
    Threshold(
        ("9-freeze",),
        "still",
        STILL,
        "radians",
        "2026-11-27",
        ANGLES,
        "6 degrees: the stem keeps its direction",
    ),
    Threshold(
        ("9-freeze",),
        "slower",
        SLOWER,
        "of the twin's angle",
        "2026-11-27",
        ANGLES,
        "a short training turns every stem little; the freeze must be the plain network's own",
    ),
    Threshold(
        ("10-vanishing-without-norm",),
        "vanishing, and alike",
        VANISHING,
        "a layer over padding's growth (alike: up to its inverse)",
        "2026-11-27",
        "two seeds of plain-56-nonorm on digits, within 1 % of what padding predicts",
        "a factor of 3 over 56 layers",
    ),
    Threshold(
        ("5-responses",),
        "smaller",
        1,
        "of the other network's response",
        "2026-11-24",
        "R Figure 7",
        "R says smaller, and no number",
    ),
    Threshold(
        ("12-branches-near-zero",),
        "small",
        1,
        "of the shortcut's variance",
        "2026-11-27",
        "R Figure 7, and the demonstration's variance ratios",
        "R says near zero, and no number",
    ),
    Threshold(
        ("13-dose",),
        "follows",
        FLAT,
        "points per % of growth a layer",
        "2026-11-27",
        "two seeds of each dose on digits",
        "any rise is a response to the dose",
    ),
    Threshold(
        ("pair",),
        "learnt",
        CHANCE_SHARE,
        "of the error of guessing",
        "2026-11-27",
        DEMO,
        "as for the claims",
    ),
    Threshold(
        ("pair",),
        "tie, and not worse",
        PAIR_MARGIN,
        f"{POINT} of training and of test error",
        "2026-11-27",
        f"R Table 2; {DEMO}",
        "R's 18 layers differ by 0.06, its 34 layers by 3.51",
    ),
)


def _order(claim: str) -> int:
    """Return a claim's number as sort key; the pair, which is not a claim, comes last."""
    number = claim.split("-")[0]
    return int(number) if number.isdigit() else len(THRESHOLDS)


def thresholds_table() -> str:
    """Return the table as Markdown."""
    head = ["claims", "threshold", "set on", "known then", "why"]
    rows = [
        (
            ", ".join(one.split("-")[0] for one in each.claims),
            f"{each.name}: {each.value:g} {each.unit}",
            each.day,
            each.seen,
            each.why,
        )
        for each in sorted(THRESHOLDS, key=lambda one: _order(one.claims[0]))
    ]
    return markdown_table(head, rows)
