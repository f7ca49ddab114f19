"""Report on this machine: processors, packages, datasets, W&B and disks, each with a hint.

torch's `collect_env` is slower (it asks compilers and pip), prints 94 lines, and covers neither
datasets, W&B and disks nor what to do.
"""

from __future__ import annotations

import importlib.util
import json
import netrc
import os
import platform
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from resnet_lab.data.config import default_data_dir
from resnet_lab.data.dataset import datasets
from resnet_lab.errors import UserError
from resnet_lab.files import user_path
from resnet_lab.runs.provenance import provenance

WIDTH = 96
FEW_GIGABYTES = 5.0
"""Free disk space below which a study may not fit."""
PURPOSES = {
    "wandb": "--tracking wandb and W&B sweeps; install it with: pip install wandb",
    "optuna": "resnet-lab sweep; install it with: pip install optuna",
    "psycopg": "sweeps of many machines on PostgreSQL; install it with: pip install "
    "'psycopg[binary]'",
}


@dataclass(frozen=True)
class Fact:
    """One fact about the machine: its name, its state, and a hint on what to do ("" for none)."""

    name: str
    state: str
    hint: str = ""


def machine_facts(data_dir: str | Path | None = None) -> list[Fact]:
    """Collect facts about this machine, without downloads, hashing or network access.

    Args:
        data_dir: the data directory; see `default_data_dir`.
    """
    return [
        *_computing(),
        *_packages(),
        *_where_data_lie(data_dir),
        _tracking(),
        _disk("runs", Path.cwd()),
    ]


def _where_data_lie(data_dir: str | Path | None) -> Iterator[Fact]:
    try:
        folder = default_data_dir(data_dir)
    except UserError as error:
        yield Fact("data directory", "none", str(error))
        return
    yield from _data(folder)
    yield _disk("data", folder)


def _computing() -> Iterator[Fact]:
    import torch

    known = provenance("")
    yield Fact("python", f"{known['python']} on {known['system']}")
    yield Fact("torch", f"{torch.__version__}, Lightning {known['lightning']}")
    yield _processors(str(known["processor"]), torch.get_num_threads())
    yield from _gpus()


def _processors(name: str, threads: int) -> Fact:
    fast = has_fast_bfloat16()
    state = f"{name}, {os.cpu_count()} cores, torch uses {threads} threads, bfloat16 " + (
        "in hardware" if fast else "without hardware support" if fast is not None else "unknown"
    )
    hint = (
        "--recipe.precision auto --recipe.compile auto trains long runs about twice as fast"
        if fast
        else "stay with float32 on this processor"
    )
    return Fact("processor", state, hint)


def has_fast_bfloat16() -> bool | None:
    """Whether the processor multiplies bfloat16 in hardware; None if unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    named = [one for one in text.splitlines() if one.lower().startswith(("flags", "features"))]
    flags = {word for line in named for word in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _gpus() -> Iterator[Fact]:
    import torch

    if torch.backends.mps.is_available():
        yield Fact("GPU", "Apple's, by MPS", "--trainer.device mps")
    if not torch.cuda.is_available():
        hint = "digits and short CIFAR runs suit a CPU; the paper's schedules want a GPU"
        yield Fact("CUDA", "no GPU that torch can use", hint)
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        state = f"{about.name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        major, minor = about.major, about.minor
        quick = "bfloat16 in hardware" if major >= 8 else "no bfloat16 in hardware"
        yield Fact(f"CUDA {number}", f"{state}, compute capability {major}.{minor}, {quick}")


def _packages() -> Iterator[Fact]:
    for name, purpose in PURPOSES.items():
        if importlib.util.find_spec(name) is None:
            yield Fact(name, "not installed", f"needed by {purpose}")
        else:
            yield Fact(name, _version(name))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _data(data_dir: Path) -> Iterator[Fact]:
    there = "" if data_dir.is_dir() else ", which does not exist yet"
    hint = "another: --data-dir DIR, or set RESNET_LAB_DATA"
    yield Fact("data directory", f"{data_dir}{there}", hint)
    for name, dataset in datasets().items():
        yield Fact(name, *dataset.presence(data_dir))


def _tracking() -> Fact:
    """W&B's mode, from its variables and login file, without asking the server."""
    mode = os.environ.get("WANDB_MODE", "online")
    if mode in ("offline", "dryrun", "disabled"):
        return Fact("W&B", f"WANDB_MODE is {mode}", "online: unset WANDB_MODE")
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return Fact("W&B", f"logged in to {host} by WANDB_API_KEY")
    if _in_login_file(host):
        return Fact("W&B", f"logged in to {host}")
    hint = "wandb login; or WANDB_MODE=offline, which keeps everything on this machine"
    return Fact("W&B", f"nobody is logged in to {host}", hint)


def _in_login_file(host: str) -> bool:
    try:
        file = user_path(os.environ.get("NETRC") or "~/.netrc")
        return netrc.netrc(str(file)).authenticators(host) is not None
    except (OSError, UserError, netrc.NetrcParseError):
        return False


def _disk(purpose: str, folder: Path) -> Fact:
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    hint = "" if free >= FEW_GIGABYTES else "little: another --runs-dir or --data-dir"
    return Fact(f"disk for {purpose}", f"{free:.1f} GB free at {there}", hint)


def facts_text(facts: list[Fact]) -> str:
    """Return the facts as aligned text, with each hint below its fact."""
    width = max(len(fact.name) for fact in facts) + 2
    indent = " " * width
    wrap = partial(textwrap.wrap, width=WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [f"this machine, {platform.node()}, and what to do:" if platform.node() else ""]
    for fact in facts:
        lines += wrap(f"{fact.name:<{width}}{fact.state}", subsequent_indent=indent)
        if fact.hint:
            lines += wrap(f"{indent}-> {fact.hint}", subsequent_indent=f"{indent}   ")
    lines += ["", "why runs show no degradation: resnet-lab doctor RUNS_DIR"]
    return "\n".join(lines).strip()


def facts_json(facts: list[Fact]) -> str:
    """Return the facts as a JSON list of name, state and hint."""
    return json.dumps([asdict(fact) for fact in facts], indent=2, ensure_ascii=False)
