"""List folders of images by the names of their entries, without opening files. No torch."""

from __future__ import annotations

import os
from collections.abc import Iterator

from resnet_lab.data.links import Reached
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Listing:
    """Lists folders, and records the entries that it leaves out.

    Attributes:
        left_out: as in `ImageTree`.
        faults: path and reason of broken links, and of entries named like images that are no files.
    """

    def __init__(self, reached: Reached) -> None:
        self.left_out: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self._reached = reached

    def open(self, folder: str) -> list[str]:
        """Return the names of a folder's subfolders; other entries are left out."""
        names = []
        for entry in self._entries(folder):
            if _is_folder(entry):
                names.append(entry.name)
            else:
                self.left_out.append(entry.path)
        return names

    def images(self, folder: str) -> list[str]:
        """Every image in a folder and its subfolders, folder by folder, sorted by path."""
        found: list[tuple[str, list[str]]] = []
        waiting = [folder]
        while waiting:
            place = waiting.pop()
            paths = []
            for entry in self._entries(place):
                if _is_folder(entry):
                    waiting.append(entry.path)
                elif self._is_image(entry):
                    paths.append(entry.path)
            found.append((place, sorted(paths)))
        return [path for _, paths in sorted(found) for path in paths]

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """A folder's entries, without those that systems and editors leave behind."""
        try:
            self._reached.enter(folder)
            entries = [*os.scandir(folder)]
        except OSError as error:
            raise UserError(f"data: {folder} cannot be read: {error.strerror}") from error
        for entry in entries:
            if is_left_behind(entry.name):
                self.left_out.append(f"{entry.path}/" if _is_folder(entry) else entry.path)
            elif _is_broken(entry):
                self.faults.append((entry.path, "its link is broken"))
            else:
                yield entry

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        if not entry.name.lower().endswith(ENDINGS):
            self.left_out.append(entry.path)
            return False
        if not _is_file(entry):
            self.faults.append((entry.path, "it is no file"))
            return False
        inode = entry.stat().st_ino if entry.is_symlink() else entry.inode()
        self._reached.note(entry.path, inode)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder without permission
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_broken(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a broken link, so that a class or an image is missing."""
    return entry.is_symlink() and not _is_file(entry) and not os.path.exists(entry.path)
