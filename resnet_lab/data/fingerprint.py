"""What tells one data set from another of the same name: checksums, and files below folders.

No torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from resnet_lab.data.checksums import file_checksum
from resnet_lab.data.cifar_files import VERSIONS, CifarVersion, check_files_exist, known_checksums
from resnet_lab.data.config import DataConfig, default_data_dir
from resnet_lab.data.image_index import ImageIndex, read_index
from resnet_lab.data.image_root import check_part, tree_root
from resnet_lab.errors import UserError

MOST_BYTES = 64 * 2**20
"""Files of a part that together are no larger have their contents read: in less than a second."""
DIGITS = {"train": "contents:d3085b55c34f0b27", "test": "contents:5d4373df82374ed4"}
"""Of the labels and pixels that `digits.read_digits` returns; they are the same ever since."""


def fingerprint(config: DataConfig, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Tell by short checksums which images a run of `config` reads from `data_dir`
    (None: `default_data_dir`).

    Two data sets with equal fingerprints have the same images in the same order, as far as is
    seen. Of CIFAR the checksums count that its files are compared with when they are read. Of image
    folders the names of classes and files count, and their contents, or, where a part has more than
    64 MiB, only their sizes: an image replaced by another of its name and its size is not seen
    then. Where the folders lie, dates, links, files that are left out and the order in which a file
    system lists them make no difference. All of ImageNet takes a listing and one `stat` a file,
    seven seconds of a processor, and what a disk takes whose directories are not in memory.

    Returns:
        "images", the number of training images; "train" and, with `config.test`, "test": what was
        compared ("contents" or "sizes"), a colon and 16 hexadecimal digits. Without `config.test`
        no test image is looked at, and the rest is the same as with it.

    Raises:
        UserError: files are missing, as when the data is loaded. CIFAR-10's need not be there, as
            they can only be those whose checksums are built in.
    """
    if config.name in VERSIONS:
        return _of_cifar(VERSIONS[config.name], data_dir, test=config.test)
    if config.name == "digits":
        return {"images": 1437, **{part: DIGITS[part] for part in _parts(config.test)}}
    indices = read_index(config.name, default_data_dir(data_dir), test=config.test)
    parts = zip(_parts(config.test), indices, strict=False)
    return {"images": len(indices[0].paths)} | {part: _of_images(index) for part, index in parts}


def check_there(config: DataConfig, data_dir: str | Path | None = None) -> None:
    """Raise UserError, as when the data is loaded, if the files that a run reads are not there.

    What they hold is not looked at, so this takes no time: a sweep asks it before its first run.
    """
    if config.name in VERSIONS:
        version = VERSIONS[config.name]
        files = [file for part in _parts(config.test) for file in getattr(version, part)]
        check_files_exist(version, default_data_dir(data_dir), files)
    elif config.name != "digits":
        folder = default_data_dir(data_dir)
        for part in ("train", "val")[: 1 + config.test]:
            check_part(config.name, folder, tree_root(config.name, folder) / part)


def _parts(test: bool) -> tuple[str, ...]:
    return ("train", "test") if test else ("train",)


def _of_cifar(version: CifarVersion, data_dir: str | Path | None, *, test: bool) -> dict[str, Any]:
    files = {part: list(getattr(version, part)) for part in _parts(test)}
    checksums = version.sha256 or _cifar_checksums(version, data_dir, [*chain(*files.values())])
    return {"images": sum(version.train.values())} | {
        part: f"contents:{_hash((file.encode(), checksums[file]) for file in names)}"
        for part, names in files.items()
    }


def _cifar_checksums(
    version: CifarVersion, data_dir: str | Path | None, files: Sequence[str]
) -> dict[str, str]:
    """Checksums of files that are not built in: written beside them, or else measured."""
    data_dir = default_data_dir(data_dir)
    check_files_exist(version, data_dir, files)
    folder = data_dir / version.folder
    known = known_checksums(version, folder)
    return {file: known.get(file) or file_checksum(folder / file, "sha256") for file in files}


def _of_images(images: ImageIndex) -> str:
    top = len(str(images.folder)) + 1
    names = [os.fsencode(path[top:].replace(os.sep, "/")) for path in images.paths]
    try:
        sizes = [os.stat(path).st_size for path in images.paths]
        if sum(sizes) > MOST_BYTES:
            return f"sizes:{_hash(zip(names, map(str, sizes), strict=True))}"
        contents = [file_checksum(Path(path), "sha256") for path in images.paths]
    except OSError as error:
        raise UserError(f"data: {error.filename} cannot be read: {error.strerror}") from error
    return f"contents:{_hash(zip(names, contents, strict=True))}"


def _hash(files: Iterable[tuple[bytes, str]]) -> str:
    """Hash names of files, which hold no zero byte, each with its checksum or size."""
    digest = hashlib.sha256()
    for name, said in files:
        digest.update(b"%b\0%b\0" % (name, said.encode()))
    return digest.hexdigest()[:16]
