"""What a sweep will cost before anything runs: its runs, their iterations, work and hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from resnet_lab.configuration.config import Config
from resnet_lab.errors import UserError
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.sweeps.duration import Speeds, in_words, shared, workers_in_words
from resnet_lab.sweeps.sweep import Sweep


@dataclass(frozen=True)
class Costs:
    """By what the work that remains is turned into hours.

    Attributes:
        speeds: measured in earlier runs.
        workers: how many runs train at the same time.
    """

    speeds: Speeds = field(default_factory=Speeds)
    workers: int = 1


def plan_lines(
    runs: Sequence[tuple[str, Config, RunDirectory | None]],
    states: Mapping[str, int],
    costs: Costs | None = None,
) -> list[str]:
    """The plan of a grid: a line a run, and the sums of what remains.

    Args:
        runs: (state, configuration, place) of each run, in order.
        states: number of slots in each state: "finished", "failed", "running", "to do".
        costs: what is measured.
    """
    costs = costs or Costs()
    lines = [f"{state:<8} {_cost(config)}{_label(place)}" for state, config, place in runs]
    left = [(config, place) for state, config, place in runs if state != "finished"]
    work = [multiply_adds(config) for config, _ in left]
    iterations = sum(config.recipe.iterations for config, _ in left)
    lines += [
        _counts(states),
        f"remaining: {len(left)} runs, {iterations:,} iterations, {_work(work)}",
    ]
    shares = [_share_left(config, place) for config, place in left]
    return [*lines, *time_left([config for config, _ in left], shares, costs)]


def search_lines(
    choices: Sequence[tuple[float, Config]], states: Mapping[str, int], costs: Costs | None = None
) -> list[str]:
    """The plan of a search: what one of its runs costs on average, and what remains.

    Args:
        choices: (probability, configuration) of everything that decides what a run costs.
        states: number of slots in each state.
        costs: what is measured.
    """
    costs = costs or Costs()
    remaining = sum(states.values()) - states.get("finished", 0)
    iterations = sum(share * config.recipe.iterations for share, config in choices)
    work = [multiply_adds(config) for _, config in choices]
    known = [one for one in work if one is not None]
    mean = None
    if len(known) == len(work):
        mean = sum(share * one for (share, _), one in zip(choices, known, strict=True))
    shown = f"{mean:>9.3g}" if mean is not None else f"{'?':>9}"
    line = f"{'each':<8} {round(iterations):>9,} iterations {shown} multiply-adds"
    if len({*work, *(config.recipe.iterations for _, config in choices)}) > 2:
        line += f", the mean of its choices ({_range(choices)})"
    total = f"{remaining * mean:.3g} multiply-adds forward" if mean is not None else "size unknown"
    lines = [
        line,
        _counts(states),
        f"remaining: {remaining} runs, {round(remaining * iterations):,} iterations, {total}",
    ]
    return [*lines, *_search_time(choices, remaining, costs)]


def _counts(states: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    return f"{sum(states.values())} runs: {counts}"


def _work(costs: Sequence[int | None]) -> str:
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return "size unknown"
    return f"{sum(known):.3g} multiply-adds forward"


def _range(choices: Sequence[tuple[float, Config]]) -> str:
    """Say what the cheapest and the dearest choice cost."""
    work = [(multiply_adds(config), config) for _, config in choices]
    known = [(cost, config) for cost, config in work if cost is not None]
    if not known:
        counts = [config.recipe.iterations for _, config in choices]
        return f"{min(counts):,} to {max(counts):,} iterations"
    ends = [pick(known, key=lambda each: each[0]) for pick in (min, max)]
    return " to ".join(
        f"{cost:.3g} for {'+'.join(spec.name for spec in config.specs())} in "
        f"{config.recipe.iterations:,} iterations"
        for cost, config in ends
    )


def _share_left(config: Config, place: RunDirectory | None) -> float:
    """Which share of a run is still to be trained, by its last checkpoint."""
    info = place.read() if place is not None else None
    step = int(info.get("step") or 0) if info else 0
    return max(0.0, 1 - step / config.recipe.iterations)


def time_left(configs: Sequence[Config], shares: Sequence[float], costs: Costs) -> list[str]:
    """Say how long runs take, by measured ones; of which nothing was measured is said too."""
    if not configs:
        return []
    found = [costs.speeds.of(config) for config in configs]
    seconds = [
        share * config.recipe.iterations * one.seconds
        for config, share, one in zip(configs, shares, found, strict=True)
        if one is not None
    ]
    unknown = [config for config, one in zip(configs, found, strict=True) if one is None]
    if not seconds:
        return [_nothing_measured(unknown)]
    for_some = f" for {len(seconds)} of these runs" if unknown else ""
    line = (
        f"time: about {in_words(shared(seconds, costs.workers))} with "
        f"{workers_in_words(costs.workers)}{for_some} ({_sources(configs, costs.speeds)})"
    )
    return [line, *([_nothing_measured(unknown)] if unknown else [])]


def _search_time(
    choices: Sequence[tuple[float, Config]], remaining: int, costs: Costs
) -> list[str]:
    if not remaining:
        return []
    found = [(share, config, costs.speeds.of(config)) for share, config in choices]
    unknown = [config for _, config, one in found if one is None]
    known = [(share, config, one) for share, config, one in found if one is not None]
    if not known:
        return [_nothing_measured(unknown)]
    weight = sum(share for share, _, _ in known)
    each = sum(share * config.recipe.iterations * one.seconds for share, config, one in known)
    total = shared([each / weight] * remaining, costs.workers)
    sources = _sources([config for _, config in choices], costs.speeds)
    line = f"time: about {in_words(total)} with {workers_in_words(costs.workers)} ({sources})"
    return [line, *([_nothing_measured(unknown)] if unknown else [])]


def _sources(configs: Iterable[Config], speeds: Speeds) -> str:
    """Say which runs were measured: the study's own, and those elsewhere."""
    found: dict[str, str] = {}
    for config in configs:
        measured = speeds.of(config)
        if measured is not None:
            own = measured in speeds.here.values()
            name = "+".join(spec.name for spec in config.specs())
            where = "of this study" if own else "elsewhere"
            found.setdefault(f"{name}: {measured.text(where)}", name)
    texts = list(found)
    if len(texts) == 1:
        return texts[0].partition(": ")[2]
    return "; ".join(texts[:MOST_SOURCES]) + (", ..." if texts[MOST_SOURCES:] else "")


MOST_SOURCES = 4
"""Most measurements that a plan names."""


def _nothing_measured(configs: Sequence[Config]) -> str:
    names = dict.fromkeys("+".join(spec.name for spec in config.specs()) for config in configs)
    told = ", ".join(list(names)[:MOST_SOURCES]) + (", ..." if list(names)[MOST_SOURCES:] else "")
    return f"time: nothing was measured yet of {told} with these settings"


def _cost(config: Config) -> str:
    cost = multiply_adds(config)
    work = f"{cost:>9.3g}" if cost is not None else f"{'?':>9}"
    return f"{config.recipe.iterations:>9,} iterations {work} multiply-adds"


def _label(place: RunDirectory | None) -> str:
    return f"  {place.path}" if place is not None else ""


def check_early_termination(sweep: Sweep, config: Config) -> None:
    """Raise UserError if no run would ever reach the first evaluation that could stop it."""
    if sweep.early_terminate is None:
        return
    recipe = config.recipe
    evaluations = (recipe.iterations - 1) // recipe.evaluate_every
    if sweep.early_terminate.first > evaluations:
        raise UserError(
            f"early_terminate would stop runs at evaluation {sweep.early_terminate.first}, but a "
            f"run has only {evaluations} before its last: lower min_iter or recipe.evaluate_every "
            f"({recipe.evaluate_every})"
        )
