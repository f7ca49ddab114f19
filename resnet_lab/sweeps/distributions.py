"""Distributions of a sweep's parameters: all those of W&B's sweep format.

Optuna draws lists, whole numbers and plain ranges by its own distributions. The others are drawn as
a quantile between 0 and 1, through the inverse of their distribution function: W&B's multiples of q
count from 0, Optuna's steps from the lower bound. Values are returned as the text of a flag.

A resumed study compares the `repr` of these dataclasses with those it was begun with.
"""

from __future__ import annotations

import json
import math
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from resnet_lab.errors import UserError, suggest
from resnet_lab.yaml_json import LARGEST_WHOLE

if TYPE_CHECKING:
    from optuna import Trial

TAIL = 1e-6
"""Distributions without bounds are drawn between their quantiles TAIL and 1 - TAIL."""
NEAR_ZERO = 0.1
"""Exponents above 0 and below this are taken for values given by mistake: log_uniform from 0.001
to 1.0 draws from 1.001 to 2.718."""
LARGEST_EXPONENT = 50.0
"""Larger exponents are taken for values too: no training setting exceeds e**50 = 5e21."""
Shape = Literal["uniform", "log_uniform", "normal", "log_normal", "beta"]


def as_flag(value: Any) -> str:
    """Write a value as a flag's: text as it is, everything else as JSON.

    The JSON is valid YAML too: YAML does not read surrogate pairs of escapes.
    """
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


class Distribution(ABC):
    """Distribution of one parameter."""

    @abstractmethod
    def extremes(self) -> tuple[str, ...]:
        """The values to check: all of a list, the bounds of a range."""

    @abstractmethod
    def draw(self, trial: Trial, name: str) -> str:
        """Let an Optuna trial choose; the choice is stored there as `name`."""

    def count(self) -> int | None:
        """How many values there are; None where they cannot be counted."""
        return None

    def grid(self) -> Iterable[str]:
        """All values, in order, where they can be counted."""
        return ()


@dataclass(frozen=True)
class Choices(Distribution):
    """A list of values, equally likely or with given probabilities; a constant is a list of one.

    Attributes:
        values: as flags.
        probabilities: one for each value, adding up to 1; None: equally likely.
    """

    values: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None

    def extremes(self) -> tuple[str, ...]:
        return self.values

    def count(self) -> int:
        return len(self.values)

    def grid(self) -> Iterable[str]:
        return self.values

    def draw(self, trial: Trial, name: str) -> str:
        if len(self.values) == 1:
            return self.values[0]
        if self.probabilities is None:
            return str(trial.suggest_categorical(name, self.values))
        level = trial.suggest_float(name, 0, 1)
        below = sum(level >= bound for bound in accumulate(self.probabilities))
        return self.values[min(below, len(self.values) - 1)]


@dataclass(frozen=True)
class Integers(Distribution):
    """Whole numbers from low to high, equally likely."""

    low: int
    high: int

    def extremes(self) -> tuple[str, ...]:
        return str(self.low), str(self.high)

    def count(self) -> int:
        return self.high - self.low + 1

    def grid(self) -> Iterable[str]:
        return map(str, range(self.low, self.high + 1))

    def draw(self, trial: Trial, name: str) -> str:
        return str(trial.suggest_int(name, self.low, self.high))


@dataclass(frozen=True)
class Continuous(Distribution):
    """Real numbers, optionally rounded to multiples of a quantum.

    Attributes:
        shape: of the density.
        first, second: bounds (uniform, log_uniform), mean and sd (normal; of the logarithm:
            log_normal), or alpha and beta.
        quantum: values are multiples of it; None: any value.
    """

    shape: Shape
    first: float
    second: float
    quantum: float | None = None

    def extremes(self) -> tuple[str, ...]:
        return self.at(0.0), self.at(1.0)

    def draw(self, trial: Trial, name: str) -> str:
        if self.quantum is None and self.shape in ("uniform", "log_uniform"):
            log = self.shape == "log_uniform"
            return repr(trial.suggest_float(name, self.first, self.second, log=log))
        return self.at(trial.suggest_float(name, 0, 1))

    def at(self, level: float) -> str:
        """The value at a quantile, 0 to 1."""
        value = self._inverse(level)
        if self.quantum is None:
            return repr(value)
        multiple = round(value / self.quantum) * self.quantum
        if float(self.quantum).is_integer():
            return str(round(multiple))
        return f"{multiple:.12g}"

    def _inverse(self, level: float) -> float:
        first, second = self.first, self.second
        if self.shape == "uniform":
            return first + (second - first) * level
        if self.shape == "log_uniform":
            return float(min(max(first * (second / first) ** level, first), second))
        from scipy import stats

        family = stats.beta if self.shape == "beta" else stats.norm
        value = float(family.ppf(min(max(level, TAIL), 1 - TAIL), first, second))
        return math.exp(value) if self.shape == "log_normal" else value


# Reading


@dataclass(frozen=True)
class _Kind:
    """A distribution of W&B's format.

    Attributes:
        shape: of its density.
        keys: names of its two numbers.
        exponent: 1 where they are exponents of e, -1 of 1/e; 0: the numbers themselves.
        rounded: whether W&B also has a version rounded to multiples of q: q_...
    """

    shape: Shape
    keys: tuple[str, str] = ("min", "max")
    exponent: Literal[-1, 0, 1] = 0
    rounded: bool = True


_KINDS = {
    "uniform": _Kind("uniform"),
    "log_uniform": _Kind("log_uniform", exponent=1),
    "log_uniform_values": _Kind("log_uniform"),
    # log(1/x) is uniform, so log(x) is too, with the bounds negated and swapped
    "inv_log_uniform": _Kind("log_uniform", exponent=-1, rounded=False),
    "inv_log_uniform_values": _Kind("log_uniform", rounded=False),
    "normal": _Kind("normal", ("mu", "sigma")),
    "log_normal": _Kind("log_normal", ("mu", "sigma")),
    "beta": _Kind("beta", ("a", "b")),
}
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values", "probabilities"),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
    **{name: kind.keys for name, kind in _KINDS.items()},
    **{f"q_{name}": (*kind.keys, "q") for name, kind in _KINDS.items() if kind.rounded},
}
_DEFAULTS = {"q": 1, "mu": 0, "sigma": 1}
DISTRIBUTIONS = tuple(_KEYS)


def read_distribution(where: str, entry: Mapping[str, Any]) -> Distribution:
    """Read one parameter of a sweep file.

    Without `distribution`, `value` is a constant, `values` a list, whole `min` and `max` whole
    numbers between them, and other `min` and `max` any number between them, as in W&B.

    Args:
        where: file and parameter, for messages.
        entry: such as {"min": 0.01, "max": 1.0, "distribution": "log_uniform_values"}.

    Raises:
        UserError: an unknown distribution or key, a missing one, or an empty range.
    """
    kind = entry.get("distribution")
    kind = _implied(where, entry) if kind is None else kind
    if kind not in DISTRIBUTIONS:
        raise UserError(
            f"{where}: unknown distribution '{kind}'{suggest(str(kind), DISTRIBUTIONS)} "
            f"(known: {', '.join(DISTRIBUTIONS)})"
        )
    keys = _KEYS[kind]
    for key in entry:
        if key not in (*keys, "distribution"):
            raise UserError(
                f"{where}: unknown key '{key}'{suggest(str(key), keys)} ({kind} takes: "
                f"{', '.join(keys)})"
            )
    if kind == "constant":
        if "value" not in entry:
            raise UserError(f"{where}: a constant needs 'value'")
        return Choices((as_flag(entry["value"]),))
    if "values" in keys:
        return _choices(where, kind, entry)
    return _numbers(where, kind, {key: _number(where, kind, key, entry) for key in keys})


def _implied(where: str, entry: Mapping[str, Any]) -> str:
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "min" in entry and "max" in entry:
        whole = all(type(entry[key]) is int for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    raise UserError(
        f"{where}: give one of value, values, min and max, parameters, or a distribution"
    )


def _choices(where: str, kind: str, entry: Mapping[str, Any]) -> Choices:
    values = entry.get("values")
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}: values is {values!r}: give a list with at least one value")
    flags = tuple(as_flag(value) for value in values)
    for flag, times in Counter(flags).items():
        if times > 1:
            raise UserError(f"{where}: the value {flag} is there twice: give each once")
    given = entry.get("probabilities")
    if given is None and kind == "categorical":
        return Choices(flags)
    if (
        not isinstance(given, list)
        or len(given) != len(flags)
        or not all(isinstance(one, int | float) and one >= 0 for one in given)
        or not math.isclose(sum(given), 1, abs_tol=1e-6)
    ):
        raise UserError(
            f"{where}: probabilities are {given!r}: give one for each of the {len(flags)} values, "
            "0 or more, adding up to 1"
        )
    return Choices(flags, tuple(float(one) for one in given))


def _number(where: str, kind: str, key: str, entry: Mapping[str, Any]) -> float:
    value: Any = entry.get(key, _DEFAULTS.get(key))
    if isinstance(value, str):
        raise UserError(
            f"{where}: {key} is the text '{value}': YAML reads a number in the form 1.0e-4 or "
            "1.0e+4, with a point and a sign"
        )
    largest = {int: LARGEST_WHOLE, float: math.inf}.get(type(value))
    if largest is None or not abs(value) < largest:
        raise UserError(f"{where}: {kind} needs a number as '{key}', not {value!r}")
    number: float = value
    return number


def _numbers(where: str, kind: str, given: dict[str, float]) -> Distribution:
    quantum = given.pop("q", None)
    (one, first), (other, second) = given.items()
    if quantum is not None and quantum <= 0:
        raise UserError(f"{where}: q is {quantum}: give a number above 0")
    if one == "min" and first >= second:
        raise UserError(f"{where}: min is {first} and max {second}: min must be below max")
    if (other == "sigma" and second <= 0) or (one == "a" and min(first, second) <= 0):
        raise UserError(f"{where}: {one} is {first}, {other} {second}: give numbers above 0")
    if kind == "int_uniform":
        if not (isinstance(first, int) and isinstance(second, int)):
            raise UserError(f"{where}: int_uniform needs whole numbers, not {first} and {second}")
        return Integers(first, second)
    known = _KINDS[kind.removeprefix("q_")]
    if known.shape == "log_normal" and 0 < first < NEAR_ZERO:
        raise UserError(
            f"{where}: mu is {first:g}, but it is the mean of the logarithm: the median would be "
            f"e to the power of {first:g}, {math.exp(first):.4g}; for a median of {first:g} write "
            f"mu: {math.log(first):.4g}"
        )
    if known.exponent:
        _check_exponents(where, kind, first, second)
        first, second = sorted(_exp(where, known.exponent * bound) for bound in (first, second))
    elif known.shape == "log_uniform" and first <= 0:
        raise UserError(f"{where}: min is {first}: {kind} needs a number above 0")
    return _finite(where, Continuous(known.shape, first, second, quantum))


def _check_exponents(where: str, kind: str, first: float, second: float) -> None:
    """Raise UserError where values were clearly given in place of exponents of e."""
    too_large = LARGEST_EXPONENT < second < math.log(sys.float_info.max)  # e**more overflows
    if not (0 < first < NEAR_ZERO or too_large):
        return
    low, high = (-second, -first) if kind.startswith("inv_") else (first, second)
    meant = f"for values between {first:g} and {second:g} write distribution: {kind}_values"
    if first <= 0:  # as values they would be refused too
        meant = f"{kind}_values takes the values themselves"
    raise UserError(
        f"{where}: min {first:g} and max {second:g} of {kind} are exponents of e: values would lie "
        f"between {math.exp(low):.4g} and {math.exp(high):.4g}; {meant}"
    )


def _exp(where: str, exponent: float) -> float:
    """e to the power of an exponent; raise UserError where it overflows or is 0."""
    try:
        value = math.exp(exponent)
    except OverflowError:
        value = 0.0
    if not value:
        raise UserError(
            f"{where}: e to the power of {exponent} is no number: the bounds of log_uniform are "
            "exponents; log_uniform_values takes the values themselves"
        )
    return value


def _finite(where: str, values: Continuous) -> Continuous:
    """Return a distribution whose extreme values are numbers; raise UserError for another."""
    try:
        found = [float(one) for one in values.extremes()]
    except ArithmeticError:
        found = [math.inf]
    if not all(map(math.isfinite, found)):
        raise UserError(
            f"{where}: {values.shape} with {values.first:g}, {values.second:g} and q "
            f"{values.quantum} goes beyond the largest number"
        )
    return values


def odd_exponents(entry: Mapping[str, Any]) -> str | None:
    """Return a remark on exponents of e whose values are all at least 1; None otherwise.

    That may be intended, as for a batch size or a limit on gradients.
    """
    kind = str(entry.get("distribution"))
    if kind in ("log_uniform", "q_log_uniform") and entry["min"] >= 0:
        low, high = (math.exp(entry[key]) for key in ("min", "max"))
        return (
            f"the bounds of {kind} are exponents of e: values lie between {low:.4g} and "
            f"{high:.4g} (log_uniform_values takes the values themselves)"
        )
    if kind in ("log_normal", "q_log_normal") and entry.get("mu", 0) > 0:
        return (
            f"mu of {kind} is the mean of the logarithm: the median is {math.exp(entry['mu']):.4g}"
        )
    return None
