"""Which files below a folder are images of which class. Names tell: no file is opened. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_lab.data.reached_twice import Reached
from resnet_lab.errors import UserError

LAYOUT = "train/CLASS/*.jpg and val/CLASS/*.jpg (or .png and the like)"
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
NO_DATA = (
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle"),
    *("$recycle.bin", "system volume information", "lost+found"),
)
"""Names, in lower case, of what operating systems and file servers put into folders. Whatever
begins with a dot is no data either: .DS_Store, ._x.jpg, .ipynb_checkpoints."""


@dataclass(frozen=True)
class ImageIndex:
    """The images below one folder, in order of class and path.

    Attributes:
        folder: where the class folders are.
        classes: their names, sorted; a class is its place in this tuple.
        paths: the image files.
        labels: the class of each.
        left_out: everything else, sorted: files by their path, and folders that are no data by
            theirs with a slash at the end.
    """

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    left_out: tuple[str, ...] = ()


def read_index(name: str, data_dir: Path, *, test: bool = True) -> tuple[ImageIndex, ImageIndex]:
    """Index the training images, ``train/``, and the test images, ``val/``, of a data set.

    They are in the folder `name` of the data directory, or, where it has no such folder, in the
    data directory itself.

    Args:
        test: False leaves ``val/`` alone: the second index is empty.

    Raises:
        UserError: a folder is missing, empty or cannot be read, the two have different classes, or
            a link leads to an image that counts already.
    """
    root = tree_root(name, data_dir)
    tops = [root / "train", root / "val"][: 1 + test]
    for top in tops:
        _check_folder(name, top)
    reached = Reached(tops)
    parts = [_index(name, top, reached) for top in tops]
    reached.check_files()
    if not test:
        return parts[0], ImageIndex(root / "val", parts[0].classes, (), ())
    _check_same_classes(name, root, *parts)
    return parts[0], parts[1]


def tree_root(name: str, data_dir: Path) -> Path:
    """Return the folder that holds ``train`` and ``val`` of data set `name`."""
    return data_dir / name if (data_dir / name).is_dir() else data_dir


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


def _check_folder(name: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(
            f"data: {name} has no folder {folder}; it must hold {LAYOUT}. "
            "Put the images there, or name their folder with --data-dir"
        )


def _check_same_classes(name: str, root: Path, train: ImageIndex, test: ImageIndex) -> None:
    unshared = sorted(set(train.classes) ^ set(test.classes))
    if unshared:
        raise UserError(
            f"data: {name}: train and val in {root} must have the same class folders; "
            f"only one of them has {', '.join(unshared[:5])}"
        )


def _index(name: str, folder: Path, reached: Reached) -> ImageIndex:
    listing = _Listing(reached)
    classes = sorted(listing.open(str(folder)))
    found = {one: listing.images(os.path.join(folder, one)) for one in classes}
    paths = tuple(path for one in classes for path in found[one])
    if listing.faults:
        raise no_images(listing.faults, len(paths) + len(listing.faults), folder)
    empty = [one for one, images in found.items() if not images]
    if empty or not classes:
        lack = f"no valid file for the classes {', '.join(empty)}" if empty else "no class folder"
        raise UserError(
            f"data: {name}: Found {lack} in {folder}. Known endings are {', '.join(ENDINGS)}. "
            f"It must hold {LAYOUT}"
        )
    labels = tuple(label for label, one in enumerate(classes) for _ in found[one])
    return ImageIndex(folder, tuple(classes), paths, labels, tuple(sorted(listing.left_out)))


class _Listing:
    """Lists folders, and keeps what it leaves out.

    Attributes:
        left_out: as in `ImageIndex`.
        faults: path and reason of what is named as an image and is no file.
    """

    def __init__(self, reached: Reached) -> None:
        self.left_out: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self._reached = reached
        self._files: list[tuple[str, os.DirEntry[str]]] = []

    def open(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder; what else it holds is left out."""
        names = []
        for entry in self._entries(folder):
            if _is_folder(entry):
                names.append(entry.name)
            else:
                self.left_out.append(entry.path)
        return names

    def images(self, folder: str) -> list[str]:
        """Every image at or below a folder, folder by folder in the order of their paths."""
        found: list[tuple[str, list[str]]] = []
        waiting = [folder]
        while waiting:
            place = waiting.pop()
            names = []
            for entry in self._entries(place):
                if _is_folder(entry):
                    waiting.append(entry.path)
                elif self._is_image(entry):
                    names.append(entry.name)
            found.append((place, sorted(names)))
        return [os.path.join(place, name) for place, names in sorted(found) for name in names]

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What a folder holds, without what is no data."""
        try:
            self._reached.enter(folder)
            entries = [*os.scandir(folder)]
        except OSError as error:
            raise UserError(f"data: {folder} cannot be read: {error.strerror}") from error
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in NO_DATA:
                self.left_out.append(f"{entry.path}/" if _is_folder(entry) else entry.path)
            else:
                yield entry

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        if not entry.name.lower().endswith(ENDINGS):
            self.left_out.append(entry.path)
            return False
        fault, inode = _file(entry)
        if fault:
            self.faults.append((entry.path, fault))
            return False
        self._reached.note(entry.path, inode)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _file(entry: os.DirEntry[str]) -> tuple[str, int]:
    """What keeps an entry from being read as a file, and the inode of what it is or leads to."""
    try:
        if not entry.is_file():
            return ("it is no file" if os.path.exists(entry.path) else "its link is broken"), 0
        return "", entry.stat().st_ino if entry.is_symlink() else entry.inode()
    except OSError as error:
        return str(error.strerror), 0
