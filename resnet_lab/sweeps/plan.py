"""What a sweep will cost before anything runs: its runs, their iterations, work and hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from resnet_lab.configuration.config import Config
from resnet_lab.runs.directory import RunDirectory
from resnet_lab.sweeps.cost import multiply_adds
from resnet_lab.sweeps.duration import Speeds, estimate, shared

MAX_NAMED = 4
"""Most measurements, or networks without one, that a plan names."""


def plan_lines(
    runs: Sequence[tuple[str, Config, RunDirectory | None]],
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
    lines = [f"{state:<8} {_cost(config)}{_label(place)}" for state, config, place in runs]
    left = [(config, place) for state, config, place in runs if state != "finished"]
    work = [multiply_adds(config) for config, _ in left]
    iterations = sum(config.recipe.iterations for config, _ in left)
    lines += [
        _counts(states),
        f"remaining: {len(left)} runs, {iterations:,} iterations, {_work(work)}",
    ]
    shares = [(_share_left(config, place), config) for config, place in left]
    return [*lines, *_time(shares, speeds, workers)]


def search_lines(
    choices: Sequence[tuple[float, Config]],
    states: Mapping[str, int],
    speeds: Speeds,
    workers: int,
) -> list[str]:
    """The plan of a search: what one of its runs costs on average, and what remains.

    Args:
        choices: (probability, configuration) of everything that decides what a run costs.
        states: number of slots in each state.
        speeds: measured in earlier runs.
        workers: how many runs train at the same time.
    """
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
    return [*lines, *_time(choices, speeds, workers, remaining)]


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
        f"{cost:.3g} for {_cohort(config)} in {config.recipe.iterations:,} iterations"
        for cost, config in ends
    )


def _share_left(config: Config, place: RunDirectory | None) -> float:
    """Which share of a run is still to be trained, by its last checkpoint."""
    info = place.read() if place is not None else None
    step = int(info.get("step") or 0) if info else 0
    return max(0.0, 1 - step / config.recipe.iterations)


def _time(
    parts: Sequence[tuple[float, Config]], speeds: Speeds, workers: int, draws: int | None = None
) -> list[str]:
    """Say how long runs take, by measured ones; of which nothing was measured is said too.

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
    """Say which runs were measured: the study's own, and those elsewhere."""
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


def _cost(config: Config) -> str:
    cost = multiply_adds(config)
    work = f"{cost:>9.3g}" if cost is not None else f"{'?':>9}"
    return f"{config.recipe.iterations:>9,} iterations {work} multiply-adds"


def _label(place: RunDirectory | None) -> str:
    return f"  {place.path}" if place is not None else ""
