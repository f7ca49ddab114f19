"""Training iterations replayed on the GPU as a CUDA graph.

A ResNet-20 step on a large GPU takes less time than Python needs to launch its kernels. Here
everything that differs between iterations (images, augmentation, learning rates, step) lies in
tensors on the device, filled for many iterations at once. So the kernels of one iteration are
captured once and replayed. Members of a cohort run in parallel, each on its own stream.

A graph is verified first: its first replay must give the same result as the same iteration run
kernel by kernel. Otherwise the run continues without it, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from resnet_lab.data.memory import InMemoryData
from resnet_lab.training.cohort import Cohort

LONGEST = 256
"""Most iterations that are planned at once."""
WARM_UP = 3
"""Warm-up iterations before the capture, in which libraries choose kernels and code compiles."""
TOLERANCE = 0.05
"""Relative to the norm of an update; a changing order of additions differs by far less."""


class CudaGraph:
    """The iterations of some members, replayed as a CUDA graph; on the CPU they are just run.

    Args:
        cohort: the cohort, on its device, after its first update.
        data: images in memory.
        seed: the run's seed.
        members: indices of the members that train.
    """

    def __init__(self, cohort: Cohort, data: InMemoryData, seed: int, members: list[int]) -> None:
        self.members = members
        self._cohort = cohort
        self._data = data
        self._seed = seed
        device = cohort.device
        rows, batch = self._plan(0).shape
        self._plans = torch.zeros(LONGEST, rows, batch, dtype=torch.int64, device=device)
        exact = torch.float64 if device.type == "cpu" else torch.float32  # as Python's floats
        self._rates = torch.zeros(LONGEST, len(cohort.names), dtype=exact, device=device)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._rate_of = [torch.zeros((), dtype=exact, device=device) for _ in cohort.names]
        others = members[1:] if device.type == "cuda" else []  # the first uses the current stream
        self._lanes = {
            member: torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            for member in others
        }
        self._replay: Callable[[], None] = self._iterate

    @classmethod
    def of(
        cls, cohort: Cohort, data: InMemoryData, seed: int, members: list[int]
    ) -> CudaGraph | None:
        """Capture and verify a graph; None, with a warning, if either fails."""
        made = cls(cohort, data, seed, members)
        return made if cohort.device.type != "cuda" else made.proven()

    def proven(self) -> CudaGraph | None:
        """Capture and verify; return self, or None with a warning."""
        try:
            with self._rates_on_device():
                trusted = self._capture()
        except RuntimeError as error:
            reason = str(error)
        else:
            reason = "its first update differs from the one made kernel by kernel"
            if trusted:
                return self
        warnings.warn(f"no CUDA graph, the run goes on without: {reason}", stacklevel=2)
        return None

    def run(self, step: int, stop: int) -> int:
        """Make the updates in [step, stop), at most LONGEST; return how many."""
        count = min(stop - step, LONGEST)
        steps = range(step, step + count)
        self._load(steps)
        with self._rates_on_device():
            for _ in steps:
                self._replay()
        for i, group in enumerate(self._cohort.optimizer.param_groups):
            group["lr"] = self._cohort.lr_at(i, steps[-1])
        return count

    def _plan(self, step: int) -> Tensor:
        batch_size = self._cohort.recipe.batch_size
        return self._data.train_plan(step, seed=self._seed, batch_size=batch_size)

    def _load(self, steps: range) -> None:
        """Copy the plan of the next steps to the device, without synchronising."""
        cohort = self._cohort
        plans = torch.stack([self._plan(step) for step in steps])
        rates = torch.tensor(
            [[cohort.lr_at(i, step) for i in range(len(cohort.names))] for step in steps],
            dtype=self._rates.dtype,
        )
        for there, here in ((self._plans, plans), (self._rates, rates)):
            pinned = here.pin_memory() if there.device.type == "cuda" else here
            there[: len(steps)].copy_(pinned, non_blocking=True)
        self._place.zero_()

    def _iterate(self) -> None:
        """Run one iteration that reads nothing from the host."""
        cohort = self._cohort
        plan = self._plans.index_select(0, self._place)[0]
        rates = self._rates.index_select(0, self._place)[0]
        for rate, value in zip(self._rate_of, rates.unbind(), strict=True):
            rate.copy_(value)
        images, labels = self._data.planned_batch(plan, cohort.device)
        cohort.update(images, labels, lanes=self._lanes)
        self._place += 1

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """While entered, the optimizer's learning rates are tensors on the device."""
        groups = self._cohort.optimizer.param_groups
        before = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rate_of, strict=True):
            group["lr"] = rate
        try:
            yield
        finally:
            for group, rate in zip(groups, before, strict=True):
                group["lr"] = rate

    @contextmanager
    def _capturable(self) -> Iterator[None]:
        """While entered, fused optimizers are capturable; all their state is on the device."""
        groups = [one for one in self._cohort.optimizer.param_groups if one.get("fused")]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False

    def _capture(self) -> bool:
        """Capture an iteration; return whether its replay equals a run kernel by kernel."""
        self._load(range(self._cohort.global_step, self._cohort.global_step + 1))
        state = self._state()
        before = [tensor.clone() for tensor in state]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                torch._foreach_copy_(state, before)
                self._iterate()
            expected = [tensor.clone() for tensor in state]
            torch._foreach_copy_(state, before)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with self._capturable(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._iterate()
        graph.replay()
        trusted = lead_to_the_same(before, expected, state)
        torch._foreach_copy_(state, before)
        self._replay = graph.replay
        return trusted

    def _state(self) -> list[Tensor]:
        """All tensors that an iteration changes."""
        cohort = self._cohort
        momenta = [value for held in cohort.optimizer.state.values() for value in held.values()]
        return [
            *(parameter.data for parameter in cohort.parameters()),
            *cohort.buffers(),
            *(value for value in momenta if isinstance(value, Tensor)),
            cohort.at,
            self._place,
        ]


def lead_to_the_same(before: list[Tensor], expected: list[Tensor], found: list[Tensor]) -> bool:
    """Whether each tensor's change from `before` to `found` is about that to `expected`.

    A tensor that should not change must be equal; otherwise the error may be `TOLERANCE` of the
    change. NaN equals NaN.
    """
    gaps = [_distance(*pair) for pair in zip(expected, found, strict=True)]
    ways = [_distance(*pair) for pair in zip(before, expected, strict=True)]
    return all(gap == 0 or gap <= TOLERANCE * way for gap, way in zip(gaps, ways, strict=True))


def _distance(one: Tensor, other: Tensor) -> float:
    difference = torch.where(one == other, 0, one.double() - other.double())
    both_nan = one.isnan() & other.isnan()
    return float(torch.where(both_nan, 0, difference).norm())
