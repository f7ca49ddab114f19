"""Checksums of files, and the file ``SHA256SUMS`` beside unpacked data."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKSUM_FILE = "SHA256SUMS"


def file_checksum(path: Path, algorithm: str) -> str:
    """Return the hexadecimal "md5" or "sha256" of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def write_checksums(folder: Path, files: list[str]) -> None:
    """Write ``SHA256SUMS`` in `folder`, in the format that `sha256sum --check` reads."""
    lines = [f"{file_checksum(folder / file, 'sha256')}  {file}\n" for file in files]
    (folder / CHECKSUM_FILE).write_text("".join(lines))


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of each file that ``SHA256SUMS`` in `folder` lists; empty without one."""
    path = folder / CHECKSUM_FILE
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = [line.split(maxsplit=1) for line in lines]
    return {pair[1].strip(): pair[0] for pair in pairs if len(pair) == 2}
