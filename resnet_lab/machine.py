"""What this machine can do: processors, packages, data sets, W&B and disks, each with a way on."""

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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from resnet_lab.data.config import FOLDER_DATA, default_data_dir, prepare_command
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind, user_path
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
    """One thing about the machine: what it is, how it stands, and what to do ("" for nothing)."""

    name: str
    state: str
    hint: str = ""


def machine_facts(data_dir: str | Path | None = None) -> list[Fact]:
    """Look at this machine. Nothing is downloaded, hashed or asked of a network.

    Args:
        data_dir: where data sets lie; see `default_data_dir`.
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
    """Whether the processor multiplies bfloat16 in hardware; None where nobody says."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = {word for line in text.splitlines() if _names_features(line) for word in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _names_features(line: str) -> bool:
    return line.lower().startswith(("flags", "features"))


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
    yield Fact("digits", "in scikit-learn, always there")
    from resnet_lab.data.cifar_files import VERSIONS

    for name, cifar in VERSIONS.items():
        yield _cifar(name, data_dir / cifar.folder, cifar.records, cifar.record_bytes, data_dir)
    for name in FOLDER_DATA:
        yield _image_folders(name, data_dir)


def _cifar(name: str, folder: Path, records: dict[str, int], size: int, data_dir: Path) -> Fact:
    """Compare the files' sizes with those that they must have; contents are not read."""
    sizes = {file: _file_size(folder / file) for file in records}
    fetch = prepare_command(name, data_dir)
    missing = [file for file, found in sizes.items() if found is None]
    if len(missing) == len(records):
        return Fact(name, "not there", fetch)
    wrong = [file for file, found in sizes.items() if found not in (None, records[file] * size)]
    if missing or wrong:
        faults = [f"{file} missing" for file in missing]
        faults += [
            f"{file} has {sizes[file]:,} bytes, not {records[file] * size:,}" for file in wrong
        ]
        return Fact(name, f"not complete in {folder}: {', '.join(faults)}", fetch)
    check = f"checksums: {prepare_command(name, data_dir, 'verify')}"
    return Fact(name, f"complete in {folder}, by file sizes", check)


def _file_size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _image_folders(name: str, data_dir: Path) -> Fact:
    """Count the class folders of both parts; images are not looked at."""
    from resnet_lab.data.image_root import tree_root

    root = tree_root(name, data_dir)
    counts = {part: _class_folders(root / part) for part in ("train", "val")}
    if not any(counts.values()):
        hint = f"put train/CLASS/*.jpg and val/CLASS/*.jpg into {data_dir / name}"
        return Fact(name, "not there", hint)
    state = ", ".join(f"{count} classes in {root / part}" for part, count in counts.items())
    if counts["train"] != counts["val"]:
        return Fact(name, f"not complete: {state}", "both parts must have the same class folders")
    return Fact(name, state, f"every file: {prepare_command(name, data_dir, 'verify')}")


def _class_folders(folder: Path) -> int:
    found = folder.iterdir() if folder.is_dir() else ()
    return sum(path.is_dir() and not is_left_behind(path.name) for path in found)


def _tracking() -> Fact:
    """What W&B would do, from its variables and login file; the server is not asked."""
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
    """Return the facts as aligned text, a hint below what it belongs to."""
    width = max(len(fact.name) for fact in facts) + 2
    indent = " " * width
    lines = [f"this machine, {platform.node()}, and what to do:" if platform.node() else ""]
    for fact in facts:
        lines += _wrapped(f"{fact.name:<{width}}{fact.state}", indent)
        lines += _wrapped(f"{indent}-> {fact.hint}", f"{indent}   ") if fact.hint else []
    lines += ["", "why runs show no degradation: resnet-lab doctor RUNS_DIR"]
    return "\n".join(lines).strip()


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def facts_json(facts: list[Fact]) -> str:
    """Return the facts as a JSON list of name, state and hint."""
    return json.dumps([asdict(fact) for fact in facts], indent=2, ensure_ascii=False)
