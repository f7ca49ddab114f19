"""Inputs as they come from anywhere: for each reader what it is fed, and what it may do then.

A maker takes an empty folder, puts a specimen there and returns a strategy for hypothesis and a
function that feeds one input to the reader. That function returns ACCEPTED, if the reader took the
input for what it is, or REFUSED, if it said in one message why not. An exception that is no
UserError, and a wrong value, which an assertion finds, are crashes; so is whatever takes too long.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import itertools
import json
import math
import os
import shutil
import signal
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image
from test_data_cifar import SMALL10, SMALL100, write
from tiny_runs import tiny

from resnet_lab.cli import main
from resnet_lab.cli.parsing import config_parser, parse_config
from resnet_lab.cli.terminal import printable
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.data.checksums import write_checksums
from resnet_lab.data.cifar import read_cifar
from resnet_lab.data.datasets.cifar import Cifar
from resnet_lab.data.download import unpack
from resnet_lab.data.image_tree import ImageTree, read_trees
from resnet_lab.errors import UserError
from resnet_lab.networks.network import build_network
from resnet_lab.networks.spec import NetworkSpec
from resnet_lab.networks.weights import load_weights, save_weights
from resnet_lab.runs.frames import load_runs
from resnet_lab.runs.rows import LAYERS, METRICS
from resnet_lab.runs.stack import read_rows
from resnet_lab.sweeps.distributions import DISTRIBUTIONS, Continuous, read_distribution
from resnet_lab.sweeps.queue import Queue, Slot, open_study
from resnet_lab.sweeps.storage import open_storage
from resnet_lab.sweeps.sweep import MOST_RUNS
from resnet_lab.sweeps.sweep_file import read_sweep
from resnet_lab.training.train import train
from resnet_lab.yaml_json import DocumentError, dump_yaml, load_json, load_yaml

ACCEPTED, REFUSED = "accepted", "refused"
SECONDS = 20
"""After which a reader counts as hanging."""

Feed = Callable[[Any], str]
Maker = Callable[[Path], tuple[st.SearchStrategy[Any], Feed]]
M = TypeVar("M", bound=Maker)


@dataclass(frozen=True)
class Target:
    """A reader: what makes its specimen, and how costly one input is.

    Attributes:
        make: the maker.
        few: inputs in the test suite.
        many: inputs of the command.
    """

    make: Maker
    few: int
    many: int


TARGETS: dict[str, Target] = {}


def target(name: str, few: int, many: int) -> Callable[[M], M]:
    """Enter a maker under a name."""

    def enter(make: M) -> M:
        TARGETS[name] = Target(make, few, many)
        return make

    return enter


class Hang(BaseException):
    """No Exception, so that nothing that is tried catches it."""


@contextlib.contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise Hang in what takes longer."""

    def ring(*_: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# What is done to specimens

NONSENSE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, float("nan"), float("inf"), -math.inf, 1e300, 5e-324),
    *(2**31, 2**63, 10**30, -(10**30), "", " ", "x", "1", "nan", "<script>alert(1)</script>"),
    *("\x00", "\x1b[2J", "\u202e", "é" * 300, "../../etc/passwd", "a/b", "null", "plain-20"),
    *([], [1], [[]], {}, {"a": 1}, {"class_path": "os.system"}, "os.system", [None], "x" * 10_000),
)
TEXTS = st.one_of(
    st.text(max_size=40), st.sampled_from([one for one in NONSENSE if type(one) is str])
)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """A file after cuts, flipped bits, bytes that changed places, holes, copies, another type."""
    content = bytearray(sound)
    place = st.integers(0, max(0, len(content) - 1))
    for _ in range(draw(st.integers(1, 3))):
        if not content:
            break
        kind = draw(st.integers(0, 8))
        at, to = draw(place) % len(content), draw(place) % len(content)
        first, last = min(at, to), max(at, to)
        if kind == 0:
            del content[at:]
        elif kind in (1, 2):
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 3:
            content[at], content[to] = content[to], content[at]
        elif kind == 4:
            content[first:last] = bytes(last - first)
        elif kind == 5:
            del content[first : min(last, first + 64)]
        elif kind == 6:
            content[at:at] = content[first : min(last, first + 64)]
        elif kind == 7:
            content[at:at] = draw(st.binary(max_size=16))
        else:
            content[at] = draw(st.integers(0, 255))
    if draw(st.integers(0, 40)) == 0:
        return draw(
            st.sampled_from([b"", b"\0", b"PK\3\4", b"PAR1PAR1", b"\x80\x02c", b"\xff" * 99])
        )
    return bytes(content)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested values, as the keys that lead there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        yield (*at, key)
        if isinstance(entry, dict | list):
            yield from places(entry, (*at, key))


@st.composite
def changed(draw: st.DrawFn, document: Mapping[str, Any]) -> Any:
    """Nested values in which one or two have been replaced, taken away or put under another key."""
    copy = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        found = list(places(copy))
        if not found:
            break
        *path, key = draw(st.sampled_from(found))
        holder = copy
        for step in path:
            holder = holder[step]
        if draw(st.integers(0, 5)) == 0:
            del holder[key]
        elif isinstance(holder, dict) and draw(st.integers(0, 5)) == 0:
            holder[draw(TEXTS)] = holder.pop(key)
        else:
            holder[key] = deepcopy(draw(st.sampled_from(NONSENSE)))
    return copy


def put(path: Path, content: bytes) -> Path:
    """Write what the reader is to read."""
    path.write_bytes(content)
    return path


# Documents and configurations

YAML_PIECES = st.sampled_from(
    [
        *"[]{}:,-?&*!|>'\"%@`#~\n\t ",
        *("&a ", "*a", "<<: ", "- ", "? ", ": ", "a: ", "\n  ", "a: 1\n", "b: &b [1, 2]\n"),
        *("!!python/object/apply:os.system [id]", "!!python/name:os.system ", "!!set {a}", "---\n"),
        *(
            "1e400",
            "010",
            "1:30",
            ".nan",
            "2001-01-01",
            "9" * 30,
            "9" * 5000,
            "[" * 99,
            "{a: " * 99,
        ),
        *("c: *b\n", "true", "null", "0x1F", "1_000", "é", "\x00", "\ud800"),
    ]
)


@target("YAML documents", few=150, many=20_000)
def yaml_documents(folder: Path) -> tuple[st.SearchStrategy[str], Feed]:
    """What is read must be what PyYAML's safe loader reads."""

    def feed(text: str) -> str:
        try:
            value = load_yaml(text)
        except DocumentError:
            return REFUSED
        assert repr(value) == repr(yaml.load(text, LOADER))
        return ACCEPTED

    return st.lists(YAML_PIECES, max_size=12).map("".join) | st.text(max_size=60) | bombs(), feed


def bombs() -> st.SearchStrategy[str]:
    """Aliases of aliases: ten times as many values with each line."""

    def bomb(depth: int) -> str:
        lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
        inner = ("[" + ",".join([f"*a{k}"] * 10) + "]" for k in range(depth))
        return "\n".join([*lines, *(f"a{k}: &a{k} {one}" for k, one in enumerate(inner, start=1))])

    return st.integers(5, 60).map(bomb)


@target("command line: configuration files", few=60, many=4000)
def configuration_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """What a file says is what the configuration is."""
    sound = tiny(study="depth", data={"name": "cifar10"}, drops=[3, 5]).as_dict()
    text = yaml.safe_dump(sound, sort_keys=False).encode()

    def feed(content: bytes) -> str:
        file = put(folder / "config.yaml", content)
        try:
            config = parse_config([f"--config={file}"])
        except UserError:
            return REFUSED
        said, is_now = flat(load_yaml(content.decode())), flat(config.as_dict())
        for name, value in said.items():
            assert alike(value, is_now[name]), f"{name}: {value!r} became {is_now[name]!r}"
        return ACCEPTED

    documents = changed(sound).map(as_yaml)
    return damaged(text) | documents, feed


def as_yaml(document: Any) -> bytes:
    return yaml.dump(document, Dumper=yaml.SafeDumper, allow_unicode=True).encode(errors="replace")


def flat(values: Any, before: str = "") -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        inner = flat(value, f"{before}{name}.") if isinstance(value, dict) else {}
        found.update(inner or ({} if value == {} else {f"{before}{name}": value}))
    return found


def alike(said: Any, value: Any) -> bool:
    """Numbers may be written as integers, or as texts: 1e-4, '3'."""
    if isinstance(value, int | float) and isinstance(said, int | float | str):
        return float(said) == float(value)
    return bool(said == value)


@target("command line: flags of train", few=80, many=6000)
def flags_of_train(folder: Path) -> tuple[st.SearchStrategy[list[str]], Feed]:
    """A configuration that is accepted is the same again when it is saved and read."""
    known = [flag for flag in config_parser()._option_string_actions if flag not in STOPPING]
    values = (
        TEXTS | st.sampled_from([json.dumps(one) for one in NONSENSE]) | st.text("0123456789e+-._")
    )
    flag = st.builds("{}={}".format, st.sampled_from(known) | st.text(max_size=9), values)
    pair = st.tuples(st.sampled_from(known), values).map(list)

    def feed(arguments: list[str]) -> str:
        try:
            config = parse_config(from_wandb(arguments))
        except UserError:
            return REFUSED
        file = put(folder / "saved.yaml", dump_yaml(config.as_dict()).encode())
        assert parse_config([f"--config={file}"]) == config
        return ACCEPTED

    return st.lists(flag, min_size=1, max_size=2) | pair, feed


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STOPPING = ("-h", "--help", "--print_config")


@target("command line: all commands", few=50, many=3000)
def commands(folder: Path) -> tuple[st.SearchStrategy[list[str]], Feed]:
    """One message and code 2, or code 0; nothing here trains."""
    (folder / "runs").mkdir()
    (folder / "sound.yaml").write_text("method: grid\nparameters: {seed: {values: [0, 1]}}\n")
    words = TEXTS | st.sampled_from(
        ["--json", "--", "-", "--seed", "--network", "plain-8", "digits"]
    )
    words |= st.sampled_from(["verify", "nowhere", f"{folder}", f"{folder}/runs", "/dev/null", "."])
    words |= st.sampled_from(
        ["--data=digits", "--network=plain-8", "--workers=9999999999", "--smoke"]
    )
    words |= st.sampled_from([f"{folder}/sound.yaml", "--num-classes=" + "9" * 5000, "--count=-1"])
    begin = st.sampled_from(
        [
            *([], ["networks"], ["claims"], ["doctor"], ["evaluate"], ["data", "verify"]),
            *(["report"], ["sweep", "--dry-run"], ["claims", "--scoreboard"], ["doctor", "--json"]),
        ]
    )

    def feed(arguments: list[str]) -> str:
        return outcome_of(arguments)

    return st.builds(lambda a, b: [*a, *b], begin, st.lists(words, max_size=3)), feed


def outcome_of(arguments: list[str]) -> str:
    """Run a command in this process and look at what it leaves on the terminal."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except SystemExit as error:  # of --help
        code = int(error.code or 0)
    assert "Traceback" not in err.getvalue()
    if code == 0:
        return ACCEPTED
    assert (code, out.getvalue()) == (2, "") or not arguments, (code, out.getvalue())
    lines = err.getvalue().splitlines()
    assert not arguments or (len(lines) == 1 and lines[0].startswith("resnet-lab: ")), lines
    assert printable(err.getvalue()) == err.getvalue()
    return REFUSED


@target("network names", few=200, many=20_000)
def network_names(folder: Path) -> tuple[st.SearchStrategy[str], Feed]:
    """A name that is accepted says everything, and its depth is the one that it states."""
    options = (
        *("A", "B", "C", "cifar", "imagenet", "basic", "bottleneck", "preact", "relupre"),
        *("stem7x7", "x0.5", "x99", "nonorm", "x"),
    )
    named = st.builds(
        lambda family, depth, rest: "-".join([family, depth, *rest]),
        st.sampled_from(["plain", "resnet", "PLAIN", "plan", ""]),
        st.integers(-9, 10**12).map(str) | st.sampled_from(["20", "50", "164", "٢٠", "020", "1e9"]),
        st.lists(st.sampled_from(options), max_size=4),
    )

    def feed(name: str) -> str:
        try:
            spec = NetworkSpec.parse(name)
        except UserError:
            return REFUSED
        assert NetworkSpec.parse(spec.name) == spec
        assert spec.depth == int(name.strip().split("-")[1])
        return ACCEPTED

    return named | TEXTS | st.builds(lambda a, b: a + b, named, TEXTS), feed


# Sweeps

SWEEP: dict[str, Any] = {
    "name": "study",
    "method": "bayes",
    "metric": {"name": "validation_error", "goal": "minimize", "target": 3.0},
    "run_cap": 8,
    "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
    "parameters": {
        "config": {"value": "experiments/digits.yaml"},
        "network": {"values": ["plain-20", "resnet-20"], "probabilities": [0.5, 0.5]},
        "seed": {"min": 0, "max": 5},
        "recipe": {"parameters": {"lr": {"distribution": "log_uniform", "min": -5, "max": 0}}},
        "recipe.momentum": {"distribution": "q_normal", "mu": 0.5, "sigma": 0.1, "q": 0.01},
        "data.test": {"value": False},
    },
}


@target("sweep files", few=100, many=10_000)
def sweep_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """No more runs than the limit, and every value of every parameter is the text of a flag."""
    grid = {**SWEEP, "method": "grid", "early_terminate": None}
    grid["parameters"] = {"seed": {"min": 0, "max": 5}, "network": {"values": ["plain-20"]}}

    def feed(content: bytes) -> str:
        try:
            sweep = read_sweep(put(folder / "sweep.yaml", content))
        except UserError:
            return REFUSED
        runs = [*sweep.corners()] if sweep.searches else [*sweep.points()]
        assert 0 < len(runs) <= MOST_RUNS
        assert all(flag.startswith("--") and "=" in flag for flag in itertools.chain(*runs))
        json.dumps(sweep.content, allow_nan=True)
        return ACCEPTED

    texts = damaged(as_yaml(SWEEP)) | damaged(as_yaml(grid))
    return texts | changed(SWEEP).map(as_yaml) | changed(grid).map(as_yaml), feed


@target("distributions", few=150, many=10_000)
def distributions(folder: Path) -> tuple[st.SearchStrategy[dict[str, Any]], Feed]:
    """Values lie between the extremes, which are numbers."""
    numbers = st.floats() | st.integers(-5, 5) | st.sampled_from([0.1, 1e-9, 1e300, 5e-324, -800])
    entries = st.dictionaries(
        st.sampled_from(["min", "max", "mu", "sigma", "q", "a", "b", "value", "values"]),
        numbers | st.sampled_from([one for one in NONSENSE if not isinstance(one, dict)]),
        max_size=4,
    )
    kinds = st.sampled_from([*DISTRIBUTIONS, None, "unifrom"])

    def feed(drawn: tuple[str | None, dict[str, Any]]) -> str:
        kind, entry = drawn
        try:
            values = read_distribution(
                "file", entry if kind is None else {**entry, "distribution": kind}
            )
        except UserError:
            return REFUSED
        if isinstance(values, Continuous):
            low, high = (float(one) for one in values.extremes())
            inside = [float(values.at(level)) for level in (0.25, 0.5, 0.75)]
            assert all(math.isfinite(one) for one in (low, high, *inside))
            assert all(low <= one <= high for one in inside) or values.shape == "beta"
        return ACCEPTED

    return st.tuples(kinds, entries), feed


@target("journals of studies", few=20, many=1500)
def journals(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """A damaged journal is refused, or read as far as it is whole."""
    with contextlib.closing(opened_study(folder)) as queue:
        queue.fill([Slot(str(number), {"seed": str(number)}) for number in range(3)])
        assert queue.take() is not None
    sound = (folder / "study.journal").read_bytes()

    def feed(content: bytes) -> str:
        put(folder / "study.journal", content)
        try:
            with contextlib.closing(opened_study(folder)) as queue:
                attempts = queue.attempts()
        except UserError:
            return REFUSED
        assert len(attempts) <= 3
        return ACCEPTED

    return damaged(sound), feed


def opened_study(folder: Path) -> Queue:
    storage = open_storage(None, folder)
    return Queue(open_study("study", storage, "space"), storage)


# Run directories


def trained(folder: Path) -> tuple[Path, Path]:
    """Two real runs of a few steps, in runs/ of a folder."""
    names = [shutil.copytree(run, folder / "runs" / run.name) for run in _runs()]
    return names[0], names[1]


@cache
def _runs() -> list[Path]:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return [train(tiny(folder, seed=seed, iterations=4)) for seed in (0, 1)]


@target("run directories: values of run.json", few=5, many=250)
def values_of_run_files(folder: Path) -> tuple[st.SearchStrategy[Any], Feed]:
    """The other run is read in any case, one that is not is named; analysis takes what is read."""
    run, other = trained(folder)
    sound = json.loads((run / "run.json").read_text())
    sound.pop("sha256", None)  # it would end every try at the first check

    def feed(document: Any) -> str:
        put(run / "run.json", json.dumps(document).encode())
        loaded = load_runs(folder / "runs")
        assert str(other) in set(loaded.runs["path"])
        read = str(run) in set(loaded.runs["path"])
        assert read or [path for path, _ in loaded.skipped] == [str(run)]
        for command in (["claims"], ["doctor"], ["claims", "--scoreboard", "--json"]):
            assert outcome_of([*command, str(folder / "runs")]) == ACCEPTED
        return ACCEPTED if read else REFUSED

    return changed(sound), feed


@target("run directories: bytes of run.json", few=15, many=1000)
def bytes_of_run_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """Strict JSON, read as Python reads it."""
    run, _ = trained(folder)

    def feed(content: bytes) -> str:
        with contextlib.suppress(ValueError, UnicodeDecodeError):
            assert repr(load_json(content.decode())) == repr(json.loads(content.decode()))
        put(run / "run.json", content)
        loaded = load_runs(folder / "runs")
        return ACCEPTED if str(run) in set(loaded.runs["path"]) else REFUSED

    return damaged((run / "run.json").read_bytes()), feed


@target("run directories: config.yaml", few=15, many=1000)
def configurations_of_runs(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """A configuration that is not the run's is refused: the run's identity is its checksum."""
    run, _ = trained(folder)
    text = (run / "config.yaml").read_bytes()
    sound = load_runs(folder / "runs").runs

    def feed(content: bytes) -> str:
        put(run / "config.yaml", content)
        loaded = load_runs(folder / "runs")
        if str(run) not in set(loaded.runs["path"]):
            return REFUSED
        pd.testing.assert_frame_equal(loaded.runs, sound)
        return ACCEPTED

    return damaged(text) | changed(yaml.safe_load(text)).map(as_yaml), feed


def parquet_files(folder: Path, table: str) -> tuple[st.SearchStrategy[bytes], Feed]:
    """Rows are those that were written: pages have checksums."""
    run, _ = trained(folder)
    file, schema = run / f"{table}.parquet", METRICS if table == "metrics" else LAYERS
    sound = read_rows(file, schema)

    def feed(content: bytes) -> str:
        try:
            rows = read_rows(put(file, content), schema)
        except UserError:
            return REFUSED
        assert rows.count == sound.count
        for name, words in sound.words.items():
            assert named(rows.words[name]) == named(words)
        for name, numbers in sound.numbers.items():
            np.testing.assert_array_equal(rows.numbers[name], numbers)
        return ACCEPTED

    return damaged(file.read_bytes()), feed


def named(words: Any) -> list[str]:
    return [words.known[code] for code in words.codes]


@target("run directories: metrics.parquet", few=100, many=10_000)
def metrics_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """See `parquet_files`."""
    return parquet_files(folder, "metrics")


@target("run directories: layers.parquet", few=100, many=10_000)
def layers_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """See `parquet_files`."""
    return parquet_files(folder, "layers")


# Weights

NETWORK = "plain-8-x0.25"


@target("weights: bytes", few=60, many=5000)
def bytes_of_weights(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """Every part of a file has a checksum: weights are those that were saved, or none."""
    saved = build_network(NETWORK, num_classes=10, in_channels=1, seed=1)
    save_weights(saved, folder / "sound.pt")
    return damaged((folder / "sound.pt").read_bytes()), feed_weights(folder, saved.state_dict())


def feed_weights(folder: Path, sound: Mapping[str, torch.Tensor] | None) -> Feed:
    network = build_network(NETWORK, num_classes=10, in_channels=1, seed=0)
    untouched = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def feed(content: bytes) -> str:
        network.load_state_dict(untouched)
        try:
            load_weights(put(folder / "weights.pt", content), network)
        except UserError:
            expected: Mapping[str, torch.Tensor] | None = untouched
            found = REFUSED
        else:
            expected, found = sound, ACCEPTED
        for name, tensor in network.state_dict().items():
            assert expected is None or torch.equal(tensor, expected[name]), name
        return found

    return feed


@target("weights: contents", few=60, many=4000)
def contents_of_weights(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """Tensors of any type, shape and layout, and what is none, under right and wrong names."""
    sound = build_network(NETWORK, num_classes=10, in_channels=1, seed=1).state_dict()
    kinds: list[Callable[[torch.Tensor], Any]] = [
        *(lambda x: x.to("meta"), lambda x: x.to_sparse(), lambda x: x.double() * 1e300),
        *(lambda x: x * math.nan, lambda x: x.bfloat16(), lambda x: x.to(torch.complex64)),
        *(lambda x: x > 0, lambda x: x[..., :0], lambda x: x[None], lambda x: x.int()),
        *(lambda x: torch.zeros(1).expand(10**6, 10**6), lambda x: torch.zeros(1).expand(x.shape)),
        *(lambda x: None, lambda x: x.tolist(), lambda x: "text", lambda x: torch.nn.Parameter(x)),
        *(lambda x: {"state_dict": x}, lambda x: x.transpose(0, -1), lambda x: x.to(torch.float16)),
    ]

    @st.composite
    def strange(draw: st.DrawFn) -> bytes:
        state: dict[Any, Any] = dict(sound)
        for name in draw(st.lists(st.sampled_from(sorted(sound)), min_size=1, max_size=3)):
            with contextlib.suppress(Exception):  # not every tensor can be made into every kind
                state[name] = draw(st.sampled_from(kinds))(sound[name].float())
        if draw(st.booleans()):
            state[draw(TEXTS | st.integers() | st.none() | st.tuples(st.integers()))] = torch.zeros(
                2
            )
        if draw(st.integers(0, 4)) == 0:
            del state[draw(st.sampled_from(sorted(sound)))]
        buffer = io.BytesIO()
        torch.save(draw(st.sampled_from([state, {"state_dict": state}, [state], None])), buffer)
        return buffer.getvalue()

    return strange(), feed_weights(folder, None)


# Data sets


def cifar_files(folder: Path, version: Cifar, checksums: bool) -> tuple[Any, Feed]:
    """With checksums nothing but the right bytes; without them the right size and labels."""
    records = write(version, folder)
    if checksums:
        write_checksums(folder / version.folder, list(version.records))
    file = next(iter(version.records))
    sound = read_cifar(version, folder)[0]

    def feed(content: bytes) -> str:
        put(folder / version.folder / file, content)
        try:
            read = read_cifar(version, folder)[0]
        except UserError:
            return REFUSED
        if checksums:
            assert torch.equal(read.images, sound.images)
            assert torch.equal(read.labels, sound.labels)
        else:
            assert len(content) == records[file].size
            assert int(read.labels.max()) < version.num_classes
        return ACCEPTED

    return damaged(records[file].tobytes()), feed


@target("CIFAR-10 files without checksums", few=40, many=4000)
def cifar10_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """See `cifar_files`."""
    return cifar_files(folder, SMALL10, checksums=False)


@target("CIFAR-100 files with checksums", few=40, many=4000)
def cifar100_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """See `cifar_files`."""
    return cifar_files(folder, SMALL100, checksums=True)


@target("archives", few=50, many=5000)
def archives(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """Nothing but the files asked for, nothing outside their folder, whatever members are named."""
    names = st.sampled_from(
        ["d/a.bin", "d/../../b", "/b", "../b", "d", "d/b", "d/a.bin/x", "é", "."]
    )
    kinds = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
    member = st.tuples(names, kinds | st.just(tarfile.FIFOTYPE), names, st.binary(max_size=9))

    def archive(members: list[tuple[str, bytes, str, bytes]]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as content:
            for name, kind, link, data in members:
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.mode = kind, link, 0o6777
                info.size = len(data) if kind == tarfile.REGTYPE else 0
                content.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    sound = archive([("d/a.bin", tarfile.REGTYPE, "", b"content")])
    target_folder = folder / "inside" / "data"
    target_folder.mkdir(parents=True)

    def feed(content: bytes) -> str:
        file = put(folder / "archive.tar.gz", content)
        try:
            unpack(file, "d", ["a.bin"], target_folder)
        except UserError:
            found = REFUSED
        else:
            found = ACCEPTED
        outside = [one for one in folder.rglob("*") if not one.is_relative_to(target_folder / "d")]
        assert set(outside) == {file, folder / "inside", target_folder}
        assert [one.name for one in (target_folder / "d").iterdir()] in ([], ["a.bin"])
        (target_folder / "d" / "a.bin").unlink(missing_ok=True)
        return found

    return damaged(sound) | st.lists(member, max_size=4).map(archive), feed


def png(width: int, height: int, rows: bytes, colour: int = 2, bits: int = 8) -> bytes:
    """A PNG file that claims what it is told to claim."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@target("image files", few=100, many=10_000)
def image_files(folder: Path) -> tuple[st.SearchStrategy[bytes], Feed]:
    """8-bit colours of a bounded size. PNG has checksums: no pixel of it is wrong."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    files = {kind: encoded(pixels, kind) for kind in ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")}
    foreign = [encoded(pixels, kind) for kind in ("GIF", "EPS", "PCX", "TGA", "ICO")]
    deep = [encoded(pixels[:, :, 0].astype(kind), "TIFF") for kind in (np.int32, np.float32)]
    deep.append(encoded(pixels[:, :, 0].astype(np.uint16) * 256, "PNG"))
    bomb = [
        png(60_000, 60_000, b""),
        png(9_000, 9_950, b"\0" * 10**6),
        png(1, 99_999, b"\0" * 10**5),
    ]
    hostile = [
        *foreign,
        *deep,
        *bomb,
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        png(0, 0, b""),
        b"\0" * 99,
    ]
    tree = ImageTree(folder, ("a",), (str(folder / "image.png"),), (0,))
    sound = torch.from_numpy(pixels).permute(2, 0, 1)

    def feed(content: bytes) -> str:
        put(folder / "image.png", content)
        try:
            image = tree.read(0)
        except UserError:
            return REFUSED
        assert content not in hostile
        assert (image.dtype, image.ndim, image.shape[0]) == (torch.uint8, 3, 3)
        if image.shape == sound.shape and content[:4] == b"\x89PNG" and b"IDAT" in content:
            assert torch.equal(image, sound)
        return ACCEPTED

    return st.one_of(*map(damaged, files.values()), st.sampled_from(hostile)), feed


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@target("image folders", few=30, many=2000)
def image_folders(folder: Path) -> tuple[st.SearchStrategy[list[tuple[str, str]]], Feed]:
    """Every image once, whatever is linked to what, and no waiting for what never comes."""
    image = encoded(np.zeros((4, 4, 3), np.uint8), "PNG")
    places_there = st.sampled_from(
        [
            f"{part}/{one}/{name}"
            for part in ("train", "val")
            for one in "ab"
            for name in ("x.png", "y.JPG", "n.txt", "sub", ".DS_Store")
        ]
    )
    things = st.sampled_from(
        ["file", "empty", "pipe", "folder", "..", ".", "/", "/dev/zero", "gone", "../b", "0.png"]
    )
    numbers = itertools.count()

    def feed(entries: list[tuple[str, str]]) -> str:
        root = folder / str(next(numbers))
        for part, one in itertools.product(("train", "val"), "ab"):
            (root / part / one).mkdir(parents=True)
            put(root / part / one / "0.png", image)
        for place, thing in entries:
            add(root / place, thing, image)
        try:
            trees = read_trees("imagefolder", root)
            paths = [path for tree in trees for path in tree.paths]
            assert len({os.path.realpath(path) for path in paths}) == len(paths)
            for tree in trees:
                tree.check_headers()
                assert all(tree.read(k).shape == (3, 4, 4) for k in range(len(tree)))
        except UserError:
            return REFUSED
        return ACCEPTED

    return st.lists(st.tuples(places_there, things), max_size=4), feed


def add(path: Path, thing: str, image: bytes) -> None:
    if os.path.lexists(path):
        return
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "folder":
        path.mkdir()
    elif thing in ("file", "empty"):
        put(path, image if thing == "file" else b"")
    else:
        path.symlink_to(thing)
