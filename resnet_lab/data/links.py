"""Detect images that would count twice because of links. No torch.

A folder is identified by its device and inode, at the cost of one `stat`. A file's inode is in the
listing of its folder, so only files whose inode was met before need a `stat`. A link always needs
one.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from pathlib import Path

from resnet_lab.errors import UserError

_64_BITS = 2**64 - 1


class Reached:
    """The folders and files found below the parts of a dataset, to detect any found twice.

    Args:
        tops: the folders ``train`` and ``val``, which hold the class folders.
    """

    def __init__(self, tops: Iterable[Path]) -> None:
        self._tops = [str(top) for top in tops]
        self._above = {
            _identity(str(folder)): str(folder)
            for top in self._tops
            for folder in (*Path(os.path.realpath(top)).parents, Path(top).parent)
        }
        self._folders: dict[tuple[int, int], str] = {}
        self._paths: list[str] = []
        self._inodes = array("Q")

    def enter(self, folder: str) -> None:
        """Record a folder.

        Raises:
            UserError: it was already found under another path, or contains the dataset itself.
        """
        identity = _identity(folder)
        if identity in self._above:
            raise self._circle(folder, self._above[identity])
        other = self._folders.setdefault(identity, folder)
        if other != folder:
            raise self._refusal("folder", folder, other)

    def note(self, path: str, inode: int) -> None:
        """Record a file and its inode (a link's target's)."""
        self._paths.append(path)
        self._inodes.append(inode & _64_BITS)

    def check_files(self) -> None:
        """Raise UserError if two recorded files are the same file, by links or hard links."""
        import numpy as np  # importing it doubles the time to parse a command

        inodes = np.frombuffer(self._inodes, dtype=np.uint64)
        known, counts = np.unique(inodes, return_counts=True)
        found: dict[tuple[int, int], str] = {}
        for place in np.flatnonzero(np.isin(inodes, known[counts > 1])):
            path = self._paths[place]
            other = found.setdefault(_identity(path), path)
            if other != path:
                raise self._refusal("file", path, other)

    def _circle(self, folder: str, above: str) -> UserError:
        """Error for a link to a folder that contains the folder of a part."""
        if folder not in self._tops or os.path.islink(folder):
            link = _link(folder, os.path.dirname(self._label(folder)[0])) or folder
            return UserError(
                f"data: {link} is a link to {above}, which holds the data set itself: "
                f"remove the link {link}"
            )
        link = next(top for top in self._tops if top != folder)
        return UserError(
            f"data: {link} is a link to {os.path.realpath(link)}, in {folder}, whose images would "
            f"be trained on and tested on: remove the link {link}"
        )

    def _refusal(self, kind: str, path: str, other: str) -> UserError:
        common = os.path.commonpath([path, other])
        links = [link for place in (path, other) if (link := _link(place, common))]
        if len(links) == 2:
            said = f"{path} and {other} lead to one {kind}"
            advice = f"remove one of the links {links[0]} and {links[1]}"
        elif not links:
            said = f"{path} and {other} are one {kind}"
            advice = "remove one of the two"
        else:
            place, target = (path, other) if _link(path, common) else (other, path)
            said = f"{place} is a link to {target}"
            if place != links[0]:
                said = f"{place} is {target}, by the link {links[0]}"
            advice = f"remove the link {links[0]}"
        return UserError(f"data: {said}, whose images {self._harm(path, other)}: {advice}")

    def _harm(self, path: str, other: str) -> str:
        (part, label), (other_part, other_label) = map(self._label, (path, other))
        if part != other_part:
            return "would be trained on and tested on"
        return "would count twice" if label == other_label else "would count under two labels"

    def _label(self, path: str) -> tuple[str, str]:
        """The part and class of a path; no class for the part's own folder."""
        top = next(top for top in self._tops if f"{path}{os.sep}".startswith(f"{top}{os.sep}"))
        return top, path[len(top) + 1 :].split(os.sep)[0]


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _link(path: str, above: str) -> str | None:
    """The last link in `path` below the folder `above`, or None."""
    while path not in (above, os.path.dirname(path), ""):
        if os.path.islink(path):
            return path
        path = os.path.dirname(path)
    return None
