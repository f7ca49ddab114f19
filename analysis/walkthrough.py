"""From runs to a conclusion: does depth hurt, and what does a shortcut change?

    python analysis/walkthrough.py [RUNS_DIR] [--out DIR]

RUNS_DIR holds matched plain and residual networks of at least two depths; by default that is
runs/demo_digits, which `make demo` trains. Nothing is trained here. The cells below (`# %%`) open
as a notebook in VS Code, PyCharm or, with jupytext, in Jupyter; as a script the file prints the
same tables and saves the figures in DIR.
"""

# %% [markdown]
# # Why does a deeper network train worse?
#
# A plain network of 56 layers contains one of 20: let the other 36 copy their input. So it should
# fit its training data at least as well. He et al. (2015) saw the opposite, called it degradation,
# and added shortcuts. These cells take a folder of runs and ask what it says about that.

# %%
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Beside this file lies a statistics.py, which must not hide Python's own: this folder comes last.
sys.path.sort(key=lambda place: Path(place, "layer_dynamics.py").exists())

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import evaluate, format_verdicts
from analysis.claims.contrast import (
    by_depth,
    contrast,
    contrasts,
    final_training_error,
    mean_training_error,
    points_text,
)
from analysis.doctor import examination_text, examine
from analysis.figures import (
    plot_error_vs_depth,
    plot_freeze,
    plot_growth,
    plot_layer_maps,
    plot_training_curves,
    style,
)
from analysis.groups import Group, arms, split_groups
from analysis.layer_dynamics import STEM, growth
from analysis.paper import load_paper
from analysis.statistics import summarise, together_text
from analysis.tables import aligned, mean_text
from resnet_lab.lifecycle import end_with_the_reader
from resnet_lab.runs.frames import Runs, load_runs

FIRST_STEPS = (0, 1, 2, 4, 8, 16)
"""Steps of the freeze that are printed, where they were recorded."""


@dataclass(frozen=True)
class Walk:
    """The runs that are looked at: all of them, the largest group of alike ones, and a folder."""

    runs: Runs
    group: Group
    out: Path

    @property
    def plain(self) -> pd.DataFrame:
        """Finished plain members, one row a network and seed."""
        return self.group.finished[self.group.finished["family"] == "plain"]

    def save(self, draw: Callable[[Runs], Figure | None], name: str) -> None:
        """Draw a figure of the largest group and save it as NAME.png; say where."""
        figure = draw(self.runs)
        if figure is None:
            print(f"no figure {name}: these runs lack what it shows")
            return
        path = self.out / f"{name}.png"
        style.save_png(figure, path)
        print(f"figure: {path}")


def begin(folder: Path, out: Path) -> Walk:
    """Load the runs, and choose the largest group of those alike in all but depth and shortcut."""
    out.mkdir(parents=True, exist_ok=True)
    runs = load_runs(folder)
    return Walk(runs, split_groups(runs)[0], out)


def arguments() -> argparse.Namespace:
    """Read the command line; a notebook has none, so it takes the defaults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs/demo_digits"))
    parser.add_argument("--out", type=Path, default=Path("report/walkthrough"))
    return parser.parse_args([] if "ipykernel" in sys.modules else sys.argv[1:])


if __name__ == "__main__":
    end_with_the_reader()
    given = arguments()
    walk = begin(given.runs, given.out)


# %% [markdown]
# ## 1. What was run?
#
# A run trains a cohort: networks that see the same batches. Before looking at any error: which
# networks, how many seeds, how were they trained, and did all of them come to their end?


# %%
def what_was_run(walk: Walk) -> None:
    """Print the networks with their seeds, and what all of them share."""
    print("\n1. What was run?\n")
    members = walk.group.members
    print(aligned(inventory(members)))
    print(f"\nall of them: {walk.group.label}")
    others = len(walk.runs.runs) - len(members)
    if others:
        print(f"left aside here, as they were trained in other ways or are doubles: {others} more")
    for path, reason in walk.runs.skipped:
        print(f"left out: {path}: {reason}")


def inventory(members: pd.DataFrame) -> pd.DataFrame:
    """Return one row of texts a network: its size, its seeds and how many finished."""
    rows = [
        {
            "network": short,
            "layers": str(part["depth"].iloc[0]),
            "parameters": f"{part['parameters'].iloc[0]:,}",
            "multiply-adds": f"{part['multiply_adds'].iloc[0]:,}",
            "seeds": " ".join(str(seed) for seed in sorted(part["seed"])),
            "finished": str((part["status"] == "finished").sum()),
        }
        for short, part in members.groupby("short", sort=False)
    ]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    what_was_run(walk)


# %% [markdown]
# ## 2. Do the twins match?
#
# `plain-56` and `resnet-56` must differ in the shortcut alone, or their comparison says nothing.
# Sizes must agree, each pair must have seen the same batches (the same seed), and both must have
# started from the same weights: then the weight norms at step 0 agree in every layer.


# %%
def do_the_twins_match(walk: Walk) -> None:
    """Print sizes, common seeds and initial weight norms of plain networks and their twins."""
    print("\n2. Do the twins match?\n")
    table = twins(walk.group)
    print(aligned(table) if len(table) else "there is no residual network of a plain one's depth")


def twins(group: Group) -> pd.DataFrame:
    """Return one row of texts a depth that has both a plain and a residual network."""
    rows = []
    for shortcut in arms(group.members):
        for depth in sorted(group.members["depth"].unique()):
            here = group.members[group.members["depth"] == depth]
            pair = [here[here["shortcut"] == one] for one in ("none", shortcut)]
            if not any(one.empty for one in pair):
                rows.append(_twin_row(group, *pair))
    return pd.DataFrame(rows)


def _twin_row(group: Group, plain: pd.DataFrame, residual: pd.DataFrame) -> dict[str, str]:
    first, second = plain.iloc[0], residual.iloc[0]
    difference = initial_difference(group, str(first["network"]), str(second["network"]))
    return {
        "twins": f"{first['short']}, {second['short']}",
        "more parameters": str(second["parameters"] - first["parameters"]),
        "more multiply-adds": str(second["multiply_adds"] - first["multiply_adds"]),
        "common seeds": str(len(set(plain["seed"]) & set(residual["seed"]))),
        "difference of initial weight norms": "-" if pd.isna(difference) else f"{difference:g}",
    }


def initial_difference(group: Group, plain: str, residual: str) -> float:
    """Return the largest difference of |w| at step 0 over layers and seeds; NaN unrecorded."""
    layers = group.runs.layers
    start = layers[(layers["quantity"] == "weight_norm") & (layers["step"] == 0)]
    sides = [
        group.of(start[start["network"] == name]).set_index(["seed", "name"])["value"]
        for name in (plain, residual)
    ]
    return float((sides[0] - sides[1]).abs().max())


if __name__ == "__main__":
    do_the_twins_match(walk)


# %% [markdown]
# ## 3. Does the deeper plain network train worse?
#
# Look at **training** error. A seed is one observation: networks of one seed saw the same batches,
# so their difference is taken seed by seed, and a t interval over seeds says how sure the mean is.
# One seed has no interval. With several shallower networks one of the comparisons might come out by
# chance, so their intervals are widened until they hold together. The curves must differ along
# training too, not only at its end.


# %%
def does_depth_hurt(walk: Walk) -> None:
    """Print final training errors and the deepest plain network against each shallower one."""
    print("\n3. Does the deeper plain network train worse?\n")
    print(aligned(errors(walk.group.finished, ["train"])))
    print()
    names = by_depth(walk.plain)
    if len(names) < 2:
        print("there is one plain depth only: nothing to compare")
    else:
        *shallower, deepest = names
        for what, values in (
            ("training error at the end", final_training_error(walk.plain)),
            ("averaged over training", mean_training_error(walk.group, walk.plain)),
        ):
            for one in contrasts(values, deepest, shallower):
                print(points_text(one, what))
        print(f"intervals {together_text(len(shallower))}")
    walk.save(plot_training_curves, "training_curves")
    walk.save(plot_error_vs_depth, "error_vs_depth")


def errors(members: pd.DataFrame, splits: list[str]) -> pd.DataFrame:
    """Return one row of texts a network: n, and mean +- sd of each split's error over seeds."""
    table = members.drop_duplicates("short")[["short"]].rename(columns={"short": "network"})
    counts = members["short"].value_counts()
    table["n"] = [str(counts[name]) for name in table["network"]]
    for split in splits:
        found = summarise(members, ["short"], f"{split}_error").set_index("short")
        pairs = [(found.loc[name, "mean"], found.loc[name, "sd"]) for name in table["network"]]
        table[f"{split} error %"] = [mean_text(float(m), float(sd)) for m, sd in pairs]
    return table


if __name__ == "__main__":
    does_depth_hurt(walk)


# %% [markdown]
# ## 4. Is it overfitting?
#
# An overfitting network has a **low** training error and a high test error. A network that is worse
# on the very images it is trained on does not overfit: it fits too little. Test errors are those of
# the last step. The best epoch, picked on test images, would flatter whatever is noisiest.


# %%
def is_it_overfitting(walk: Walk) -> None:
    """Print training beside test error (validation error where test images were not read)."""
    print("\n4. Is it overfitting?\n")
    held_out = "test" if walk.group.finished["test_error"].notna().any() else "validation"
    print(aligned(errors(walk.plain, ["train", held_out])))
    names = by_depth(walk.plain)
    if len(names) < 2:
        return
    print()
    shallower = len(names) - 1
    for split, what in (("train", "training error"), (held_out, f"{held_out} error")):
        value = walk.plain[["short", "seed"]].assign(value=walk.plain[f"{split}_error"])
        named = value.rename(columns={"short": "network"})
        found = contrast(named, names[-1], names[0], shallower)
        print("no common seed" if found is None else points_text(found, what))
    print(f"intervals {together_text(shallower)}, as in part 3")
    print("both intervals above 0: not overfitting; training error's below 0 and the other's above")
    print("it: overfitting; else these seeds do not say")


if __name__ == "__main__":
    is_it_overfitting(walk)


# %% [markdown]
# ## 5. Does the shortcut reverse it?
#
# The residual twin has the same parameters and saw the same batches. If it trains well at the depth
# at which the plain network does not, then depth alone, or the number of parameters, is no cause.


# %%
def does_the_shortcut_help(walk: Walk) -> None:
    """Print each residual network against its plain twin, and against a shallower residual one."""
    print("\n5. Does the shortcut reverse it?\n")
    values = final_training_error(walk.group.finished)
    members = walk.group.finished
    plain = walk.plain.drop_duplicates("depth").set_index("depth")["short"]
    for shortcut in arms(members):
        arm = members[members["shortcut"] == shortcut].drop_duplicates("depth")
        names = by_depth(arm)
        twins = arm[arm["depth"].isin(plain.index)]
        pairs = list(zip(twins["short"], plain[twins["depth"]], strict=True))
        pairs += [(names[-1], shallow) for shallow in names[:-1]]
        for first, second in pairs:
            found = contrast(values, first, second)
            if found is not None:
                print(points_text(found, "training error"))
    print("intervals not corrected: each is a 95 % one of its own")


if __name__ == "__main__":
    does_the_shortcut_help(walk)


# %% [markdown]
# ## 6. What did the gradients do in the first steps?
#
# In a plain network with batch norm the gradient does not vanish towards the input, it **grows**,
# in theory (wide, fully connected layers) by sqrt(pi / (pi - 1)) = 1.2112 a layer at
# initialisation, less where zero padding meets small maps. The first update then makes early
# weights huge; batch norm makes the loss indifferent to their scale, so only their direction
# matters. The gradient step lr |g| / |w| collapses, but it knows no momentum: how far a layer still
# turns is the sum of its update angles. Compare it with that of the residual twin.


# %%
def what_did_the_gradients_do(walk: Walk) -> None:
    """Print growth per layer at step 0 and the stem over the first steps; draw both."""
    print("\n6. What did the gradients do in the first steps?\n")
    fits = growths(walk.group)
    if fits.empty:
        print("no gradients were recorded")
        return
    print("growth of |g| per layer towards the input, step 0, by stage (theory of plain networks:")
    print(f"{load_paper().gradient_growth:.4f}); geometric mean over seeds\n")
    print(aligned(fits))
    print("\nstem: relative update lr |g| / |w|, geometric mean over seeds (no momentum in it)\n")
    print(aligned(stem(walk.group, "relative_update")))
    print("\nstem: norm of its weights, geometric mean over seeds\n")
    print(aligned(stem(walk.group, "weight_norm")))
    angles = stem(walk.group, "update_angle")
    if not angles.empty:
        print("\nstem: angle by which each step turned its weights, radians\n")
        print(aligned(angles))
    walk.save(plot_growth, "growth")
    walk.save(plot_freeze, "freeze")
    walk.save(plot_layer_maps, "layer_maps")


def growths(group: Group) -> pd.DataFrame:
    """Return one row of texts a network with the growth of each stage."""
    fits = group.of(growth(group.runs.layers, step=0))
    return _geometric_means(group, fits.rename(columns={"growth": "value"}), "stage", "stage {}")


def stem(group: Group, quantity: str) -> pd.DataFrame:
    """Return one row of texts a network with a quantity of the stem at the first steps."""
    layers = group.runs.layers
    chosen = (layers["quantity"] == quantity) & (layers["name"] == STEM)
    rows = group.of(layers[chosen & layers["step"].isin(FIRST_STEPS)])
    return _geometric_means(group, rows, "step", "step {}")


def _geometric_means(group: Group, rows: pd.DataFrame, by: str, title: str) -> pd.DataFrame:
    if rows.empty:
        return pd.DataFrame()
    logs = rows.assign(log=np.log(rows["value"].where(rows["value"] > 0)))
    wide = np.exp(logs.groupby(["short", by])["log"].mean()).unstack()
    names = [name for name in group.members["short"].unique() if name in wide.index]
    texts = wide.loc[names].map(lambda value: "-" if pd.isna(value) else f"{value:.4g}")
    texts.columns = pd.Index([title.format(value) for value in texts.columns])
    texts.insert(0, "network", names)
    return pd.DataFrame(texts)


if __name__ == "__main__":
    what_did_the_gradients_do(walk)


# %% [markdown]
# ## 7. What may I conclude, and what not?
#
# The verdicts apply fixed rules to paired seeds. "Undecided" is an answer: it says that these runs
# are too few. And whatever the verdict, it holds for this data, these depths, this recipe, and as
# many seeds as there are: the list at the end names what would have to be run to say more.


# %%
def what_may_i_conclude(walk: Walk) -> None:
    """Print what limits the conclusion, then the verdicts."""
    print("\n7. What may I conclude, and what not?\n")
    print(examination_text(examine(walk.runs)[:1], [], []))
    about = f"{walk.group.settings['data']}, plain and residual networks of"
    print(f"\nThis is about {about} {_depths_text(walk.group)} layers, and this recipe.")
    print("Other data, depths and recipes are other questions; and a verdict says what these runs")
    print("support, not why it is so.\n")
    print(format_verdicts(evaluate(walk.runs)))


def _depths_text(group: Group) -> str:
    return " and ".join(str(depth) for depth in sorted(group.finished["depth"].unique()))


if __name__ == "__main__":
    what_may_i_conclude(walk)
