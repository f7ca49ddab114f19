"""Plan of a sweep before it runs: its runs, their iterations, multiply-adds and hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from resnet_lab.configuration.config import Config
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.sweeps.duration import Speeds, estimate, shared

DONE = "finished"
MAX_NAMED = 4
"""Most measurements, or unmeasured networks, that a plan names."""


def plan_lines(
    runs: Sequence[tuple[str, Config, RunDirectory]],
    states: Mapping[str, int],
    speeds: Speeds,
    workers: int,
) -> list[str]:
    """The plan of a grid: a line a run, and the sums of what remains.

    Args:
        runs: (state, configuration, place) of each run, in order.
        states: number of slots in each state: "finished", "failed", "running", "to do".
        speeds: measured in earlier runs.
        workers: how many runs train at the same time.
    """
    lines = [
        f"{state:<8} {_size(config.recipe.iterations, multiply_adds(config))}  {place.path}"
        for state, config, place in runs
    ]
    left = [(_share_left(config, place), config) for state, config, place in runs if state != DONE]
    iterations = sum(config.recipe.iterations for _, config in left)
    work = _sum(multiply_adds(config) for _, config in left)
    return [
        *lines,
        *_counts(states, len(left), iterations, work),
        *_time(left, speeds, workers),
    ]


def search_lines(
    choices: Sequence[tuple[float, Config]],
    states: Mapping[str, int],
    speeds: Speeds,
    workers: int,
) -> list[str]:
    """The plan of a search: what one of its runs costs on average, and what remains.

    Args:
        choices: (probability, configuration) of each combination of what affects a run's cost.
        states: number of slots in each state.
        speeds: measured in earlier runs.
        workers: how many runs train at the same time.
    """
    remaining = sum(states.values()) - states.get(DONE, 0)
    iterations = sum(share * config.recipe.iterations for share, config in choices)
    costs = [(share, multiply_adds(config)) for share, config in choices]
    mean = _sum(None if cost is None else share * cost for share, cost in costs)
    line = f"{'each':<8} {_size(round(iterations), mean)}"
    kinds = {cost for _, cost in costs} | {config.recipe.iterations for _, config in choices}
    if len(kinds) > 2:
        line += f", the mean of its choices ({_range(choices)})"
    total = None if mean is None else remaining * mean
    return [
        line,
        *_counts(states, remaining, round(remaining * iterations), total),
        *_time(choices, speeds, workers, remaining),
    ]


def _sum(costs: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known."""
    found = list(costs)
    known = [cost for cost in found if cost is not None]
    return sum(known) if len(known) == len(found) else None


def _size(iterations: int, work: float | None) -> str:
    shown = f"{work:>9.3g}" if work is not None else f"{'?':>9}"
    return f"{iterations:>9,} iterations {shown} multiply-adds"


def _counts(
    states: Mapping[str, int], left: int, iterations: int, work: float | None
) -> tuple[str, str]:
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    total = "size unknown" if work is None else f"{work:.3g} multiply-adds forward"
    return (
        f"{sum(states.values())} runs: {counts}",
        f"remaining: {left} runs, {iterations:,} iterations, {total}",
    )


def _range(choices: Sequence[tuple[float, Config]]) -> str:
    """Describe the costs of the cheapest and the most expensive choice."""
    work = [(multiply_adds(config), config) for _, config in choices]
    known = [(cost, config) for cost, config in work if cost is not None]
    if not known:
        counts = [config.recipe.iterations for _, config in choices]
        return f"{min(counts):,} to {max(counts):,} iterations"
    ends = [pick(known, key=lambda each: each[0]) for pick in (min, max)]
    return " to ".join(
        f"{cost:.3g} for {_cohort(config)} in {config.recipe.iterations:,} iterations"
        for cost, config in ends
    )


def _share_left(config: Config, place: RunDirectory) -> float:
    """Share of a run that is still to be trained, by its last checkpoint."""
    info = place.read()
    step = int(info.get("step") or 0) if info else 0
    return max(0.0, 1 - step / config.recipe.iterations)


def _time(
    parts: Sequence[tuple[float, Config]], speeds: Speeds, workers: int, draws: int | None = None
) -> list[str]:
    """Estimate how long runs take from measured ones, and list networks without a measurement.

    Args:
        parts: (share still to be trained, configuration) of each run; of a search, (probability,
            configuration) of each choice.
        draws: of a search, how many of its runs remain.
    """
    if not parts or draws == 0:
        return []
    unknown = [config for _, config in parts if speeds.of(config) is None]
    known = [(share, config, one) for share, config in parts if (one := speeds.of(config))]
    missing = [f"time: nothing was measured yet of {_names(unknown)} with these settings"]
    if not known:
        return missing
    seconds = [share * config.recipe.iterations * one.seconds for share, config, one in known]
    for_some = f" for {len(seconds)} of these runs" if unknown and draws is None else ""
    if draws is not None:
        seconds = [sum(seconds) / sum(share for share, _, _ in known)] * draws
    told = estimate(shared(seconds, workers), workers)
    line = f"time: {told}{for_some} ({_sources([config for _, config, _ in known], speeds)})"
    return [line, *(missing if unknown else [])]


def _sources(configs: Iterable[Config], speeds: Speeds) -> str:
    """List the measured runs: the study's own, and those elsewhere."""
    found: dict[str, None] = {}
    for config in configs:
        measured = speeds.of(config)
        if measured is not None:
            where = "of this study" if measured in speeds.here.values() else "elsewhere"
            found[f"{_cohort(config)}: {measured.text(where)}"] = None
    texts = list(found)
    if len(texts) == 1:
        return texts[0].partition(": ")[2]
    return _first(texts, "; ")


def _names(configs: Sequence[Config]) -> str:
    return _first(list(dict.fromkeys(map(_cohort, configs))), ", ")


def _cohort(config: Config) -> str:
    return "+".join(spec.name for spec in config.specs())


def _first(texts: Sequence[str], comma: str) -> str:
    return comma.join(texts[:MAX_NAMED]) + (", ..." if texts[MAX_NAMED:] else "")
