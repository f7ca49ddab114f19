"""Fetching and checking data sets, for `resnet-lab data prepare` and `resnet-lab data verify`."""

from __future__ import annotations

from pathlib import Path

from resnet_lab.data.checksums import write_checksums
from resnet_lab.data.cifar import read_cifar
from resnet_lab.data.cifar_files import VERSIONS, CifarVersion, check_not_inside, known_checksums
from resnet_lab.data.config import check_data_name
from resnet_lab.data.digits import read_digits
from resnet_lab.data.download import fetched_archive, unpack
from resnet_lab.errors import UserError

MOST_NAMED = 5
MOST_DECODED = 10_000
"""Images that are decoded to verify them, in a minute or two."""


def prepare(name: str, data_dir: Path) -> list[str]:
    """Make data set `name` ready in `data_dir` and return lines that say what was done.

    CIFAR's archive is taken from the data directory where it lies there, else fetched; files that
    are there and sound are kept. Image folders cannot be fetched, only checked.

    Raises:
        UserError: the data cannot be had or is damaged; the message names files and the way out.
    """
    check_data_name(name)
    if name not in VERSIONS:
        return verify(name, data_dir)
    version = VERSIONS[name]
    check_not_inside(version, data_dir)
    try:
        return [*_verify_cifar(version, data_dir), "nothing to prepare"]
    except UserError:
        return [*_fetch_cifar(version, data_dir), *_verify_cifar(version, data_dir)]


def verify(name: str, data_dir: Path) -> list[str]:
    """Check the files of data set `name` and return lines that say what is there.

    CIFAR's are compared with their checksums and read. Of image folders every file is opened and
    its header read. Up to 10,000 images of a part are decoded too, so that files cut off are found.

    Raises:
        UserError: files are missing or damaged; the message names them.
    """
    check_data_name(name)
    if name == "digits":
        train, test = read_digits()
        return [f"digits: {len(train)} training and {len(test)} test images are in scikit-learn"]
    if name in VERSIONS:
        return _verify_cifar(VERSIONS[name], data_dir)
    return _verify_folders(name, data_dir)


def _fetch_cifar(version: CifarVersion, data_dir: Path) -> list[str]:
    folder = data_dir / version.folder
    try:
        with fetched_archive(version.url, version.archive_md5, data_dir) as archive:
            unpack(archive, version.folder, list(version.records), data_dir)
        write_checksums(folder, list(version.records))
    except UserError as error:
        files = ", ".join(version.records)
        raise UserError(f"{error}. It holds {files}, which belong in {folder}") from error
    except OSError as error:
        raise UserError(f"data: {data_dir} cannot be written to: {error}") from error
    return [f"{version.name}: unpacked into {folder}"]


def _verify_cifar(version: CifarVersion, data_dir: Path) -> list[str]:
    train, test = read_cifar(version, data_dir)
    folder = data_dir / version.folder
    known = known_checksums(version, folder)
    checked = "checksums, " if all(file in known for file in version.records) else ""
    return [
        f"{version.name}: {len(train)} training and {len(test)} test images in {folder}: "
        f"{checked}sizes and labels are right"
    ]


def _left_out(paths: list[str]) -> str:
    """Say how many files are no images by their endings, and the first of them."""
    if not paths:
        return ""
    more = ", ..." if len(paths) > MOST_NAMED else ""
    return f"; {len(paths)} others are left out: {', '.join(paths[:MOST_NAMED])}{more}"


def _verify_folders(name: str, data_dir: Path) -> list[str]:
    from resnet_lab.data.image_tree import read_trees

    lines = []
    for tree in read_trees(name, data_dir):
        whole = len(tree) <= MOST_DECODED
        (tree.check_pixels if whole else tree.check_headers)()
        found = "every file is an image" if whole else "every file has an image's header"
        lines.append(
            f"{name}: {len(tree)} images of {len(tree.classes)} classes in {tree.folder}: "
            f"{found}{_left_out(tree.left_out())}"
        )
    return lines
