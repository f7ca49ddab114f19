"""Which files below a folder are images of which class. Names tell: no file is opened. No torch."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from resnet_lab.data.image_listing import ENDINGS, Listing
from resnet_lab.data.image_root import LAYOUT, check_part, tree_root
from resnet_lab.data.reached_twice import Reached
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind


@dataclass(frozen=True)
class ImageIndex:
    """The images below one folder, in order of class and path.

    Attributes:
        folder: where the class folders are.
        classes: their names, sorted; a class is its place in this tuple.
        paths: the image files.
        labels: the class of each.
        left_out: everything else, sorted: paths of files, and, with a slash at the end, of folders
            that nobody's data is in (`resnet_lab.files.is_left_behind`).
    """

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    left_out: tuple[str, ...] = ()


def read_index(name: str, data_dir: Path, *, test: bool = True) -> tuple[ImageIndex, ImageIndex]:
    """Index the training images, ``train/``, and the test images, ``val/``, of a data set.

    See `image_root.tree_root` for the folder that holds both.

    Args:
        test: False leaves ``val/`` alone: the second index is empty.

    Raises:
        UserError: a folder is missing, empty or cannot be read, the two have different classes, or
            a link leads to an image that counts already.
    """
    root = tree_root(name, data_dir)
    tops = [root / "train", root / "val"][: 1 + test]
    for top in tops:
        check_part(name, data_dir, top)
    reached = Reached(tops)
    parts = [_index(name, top, reached) for top in tops]
    reached.check_files()
    if not test:
        return parts[0], ImageIndex(root / "val", parts[0].classes, (), ())
    _check_same_classes(name, root, *parts)
    return parts[0], parts[1]


def classes_of(name: str, data_dir: Path) -> tuple[str, ...]:
    """The class folders of the training images; what they hold is not looked at.

    Raises:
        UserError: the folder is missing or cannot be read.
    """
    top = tree_root(name, data_dir) / "train"
    check_part(name, data_dir, top)
    return tuple(sorted(Listing(Reached([top])).open(str(top))))


def no_images(faults: list[tuple[str, str]], count: int, folder: Path) -> UserError:
    """What is said of files that are named as images and are none.

    Args:
        faults: path and reason of each; an empty reason says no more than that.
        count: of all files looked at.
        folder: that holds them.
    """
    named = [f"{path} ({reason})" if reason else path for path, reason in faults[:5]]
    return UserError(
        f"data: {len(faults)} of {count} files in {folder} are no images: "
        f"{', '.join(named)}{', ...' if len(faults) > 5 else ''}; replace them"
    )


def _check_same_classes(name: str, root: Path, train: ImageIndex, test: ImageIndex) -> None:
    unshared = sorted(set(train.classes) ^ set(test.classes))
    if unshared:
        raise UserError(
            f"data: {name}: train and val in {root} must have the same class folders; "
            f"only one of them has {', '.join(unshared[:5])}{_nearly_the_same(unshared)}"
        )


def _nearly_the_same(names: list[str]) -> str:
    """Say which of these names look alike, as they do where case is ignored."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            return f". {other!a} and {name!a} are two names: spell them alike"
    return ""


def _index(name: str, folder: Path, reached: Reached) -> ImageIndex:
    listing = Listing(reached)
    classes = sorted(listing.open(str(folder)))
    found = {one: listing.images(os.path.join(folder, one)) for one in classes}
    paths = tuple(path for one in classes for path in found[one])
    if listing.faults:
        raise no_images(listing.faults, len(paths) + len(listing.faults), folder)
    empty = [one for one, images in found.items() if not images]
    if empty or not classes:
        raise UserError(
            f"data: {name}: Found {_lack(folder, empty, listing.left_out)} in {folder}. "
            f"Known endings are {', '.join(ENDINGS)}. It must hold {LAYOUT}"
        )
    labels = tuple(label for label, one in enumerate(classes) for _ in found[one])
    return ImageIndex(folder, tuple(classes), paths, labels, tuple(sorted(listing.left_out)))


def _lack(folder: Path, empty: list[str], left_out: list[str]) -> str:
    """Say which classes have no image, and what they have instead; or that there is no class."""
    if not empty:
        loose = sum(path.lower().endswith(ENDINGS) for path in left_out)
        return "no class folder" + (f" ({loose} images lie in none)" if loose else "")
    named = f"{', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}"
    inside = tuple(os.path.join(folder, one, "") for one in empty)
    names = [os.path.basename(path) for path in left_out if path.startswith(inside)]
    others = [name for name in names if name and not is_left_behind(name)]
    endings = sorted({Path(name).suffix.lower() or "none" for name in others})
    said = f" ({len(others)} files of other endings: {', '.join(endings)})" if others else ""
    return f"no valid file for the classes {named}{said}"
