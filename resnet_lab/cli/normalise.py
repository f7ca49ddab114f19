"""Normalisation of images in `resnet-lab evaluate`: from the weights' file, or from the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from resnet_lab.data.config import DataConfig, NormaliseKind
from resnet_lab.errors import UserError, suggest

if TYPE_CHECKING:
    from resnet_lab.data.inputs import Inputs
    from resnet_lab.data.normalisation import Normalisation
    from resnet_lab.networks.spec import NetworkSpec

KINDS: tuple[NormaliseKind, ...] = get_args(NormaliseKind)
WAYS_OUT = (
    f"give --normalise {', '.join(KINDS)}, or the numbers as MEANS/DEVIATIONS, one a channel, such "
    "as 0.4914,0.4822,0.4465/0.2470,0.2435,0.2616"
)


@dataclass(frozen=True)
class Numbers:
    """The user's mean and standard deviation of each channel, for pixels / 255."""

    text: str
    means: tuple[float, ...]
    deviations: tuple[float, ...]


Choice = NormaliseKind | Numbers


@dataclass(frozen=True)
class Chosen:
    """A choice of normalisation, and its source.

    data: the images; its `normalise` is measured on them unless there is a `normalisation`.
    told: the kind, or the given numbers. notes: remarks for the reader, a line each.
    """

    data: DataConfig
    normalisation: Normalisation | None
    told: str
    notes: tuple[str, ...] = ()


def read_choice(text: str) -> Choice:
    """Read the value of --normalise: a kind, or MEANS/DEVIATIONS."""
    for kind in KINDS:
        if text == kind:
            return kind
    means, slash, deviations = text.partition("/")
    try:
        found = Numbers(text, _numbers(means), _numbers(deviations))
    except ValueError:
        near = suggest(text, KINDS) if not slash else ""
        raise UserError(f"--normalise: unknown '{text}'{near}: {WAYS_OUT}") from None
    if len(found.means) != len(found.deviations) or min(found.deviations) <= 0:
        raise UserError(
            f"--normalise {text}: it must have as many deviations above 0 as it has means"
        )
    return found


def _numbers(text: str) -> tuple[float, ...]:
    found = tuple(float(number) for number in text.split(","))
    if not all(abs(number) < float("inf") for number in found):
        raise ValueError("not finite")
    return found


def choose(
    file: str,
    data: DataConfig,
    given: Choice | None,
    said: Inputs | None,
    trained: DataConfig | None,
    authors: str | None,
    spec: NetworkSpec,
) -> Chosen:
    """Choose the normalisation of the images of `data` for the weights in `file`.

    Args:
        file: of the weights, for messages.
        data: the evaluated data, with the whole training part to measure on.
        given: the user's choice.
        said: the inputs that the file states.
        trained: data of the run directory of an older file, which states no inputs.
        authors: of the code that wrote the file, if not ours.
        spec: the network.

    Raises:
        UserError: no source states it, and the other project's default is unknown.
    """
    if isinstance(given, Numbers):
        return Chosen(data, _of_numbers(given), given.text)
    if said is not None and given in (None, said.kind):
        notes = _on_other_data(file, said.data, data)
        notes = tuple(f"{note}: its inputs are normalised as they were there" for note in notes)
        return Chosen(data, said.normalisation, said.kind, notes)
    if trained is not None and said is None:
        return _as_in_its_run(file, data, given, trained)
    if given is not None:
        other = () if said is None else (f"{file} was trained with normalise {said.kind}",)
        return Chosen(replace(data, normalise=given), None, given, other)
    return _assumed(file, data, authors, spec)


def _as_in_its_run(
    file: str, data: DataConfig, given: NormaliseKind | None, trained: DataConfig
) -> Chosen:
    """For files of earlier versions, measure the numbers again on the run's training part."""
    kind = given or trained.normalise
    notes = _on_other_data(file, trained.result_name, data)
    if not notes:
        data = replace(trained, test_view=data.test_view, test=True)
    elif given is None:
        measured = f"measured on all training images of {data.result_name}"
        notes = (*notes, f"normalise {kind} was {measured}")
    return Chosen(replace(data, normalise=kind), None, kind, notes)


def _on_other_data(file: str, name: str, data: DataConfig) -> tuple[str, ...]:
    seen = data.result_name
    return () if name == seen else (f"{file} was trained on {name}, not on {seen}",)


def _assumed(file: str, data: DataConfig, authors: str | None, spec: NetworkSpec) -> Chosen:
    """Take the authors' normalisation if known; for our own files, the training default."""
    silent = f"{file} does not say how its inputs were normalised"
    if authors is None:
        note = f"{silent}: pixel-mean, of all training images of {data.result_name}, was assumed"
        return Chosen(data, None, data.normalise, (f"{note}. To choose, {WAYS_OUT}",))
    if not _is_known(data, authors, spec):
        raise UserError(f"{silent}: {WAYS_OUT}")
    note = f"{silent}: imagenet's constants were assumed, as in {authors}'s code. To choose, "
    return Chosen(replace(data, normalise="imagenet"), None, "imagenet", (f"{note}{WAYS_OUT}",))


def _is_known(data: DataConfig, authors: str, spec: NetworkSpec) -> bool:
    """Torchvision trains on ImageNet, akamaster on CIFAR-10; others use their names for more."""
    if authors == "torchvision":
        return not data.in_memory and (spec.layout, spec.stem) == ("imagenet", "7x7")
    assert authors == "akamaster"
    return data.result_name == "cifar10" and (spec.layout, spec.stem) == ("cifar", "3x3")


def _of_numbers(given: Numbers) -> Normalisation:
    import torch

    from resnet_lab.data.normalisation import Normalisation

    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (given.means, given.deviations))
    return Normalisation(mean, std)
