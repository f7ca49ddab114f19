"""`ImageTree`: the images below a folder with one subfolder per class, as in ImageNet.

Images are recognised by name; files are opened, and torch imported, only to read or check them.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_lab.data.checksums import file_checksum
from resnet_lab.data.fingerprint import hash_files
from resnet_lab.data.image_listing import ENDINGS, Listing
from resnet_lab.data.image_root import LAYOUT, check_part, tree_root
from resnet_lab.data.links import Reached
from resnet_lab.errors import UserError
from resnet_lab.files import is_left_behind

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 64 * 2**20
"""Largest total size of a part whose contents are hashed; takes less than a second."""
MOST_DECODED = 10_000
"""Largest number of images that are decoded to verify them; takes a minute or two."""
MOST_NAMED = 5


@dataclass(frozen=True)
class ImageTree:
    """The images below one folder, in order of class and path.

    Attributes:
        folder: where the class folders are.
        classes: class names, sorted; a label is an index into this tuple.
        paths: the image files.
        labels: the label of each image.
        left_out: all other entries, sorted: paths of files and, with a slash at the end, of folders
            that systems and editors leave behind (`resnet_lab.files.is_left_behind`).
    """

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """Decode one image as RGB: uint8 (3, H, W).

        Raises:
            UserError: the file is missing or damaged; the message names it.
        """
        from resnet_lab.data.image_file import decode, fault

        path = self.paths[index]
        try:
            return decode(path)
        except Exception as error:  # decoders raise almost anything on damaged bytes
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            raise UserError(
                f"data: {path} is not a readable image ({fault(path, error)}); replace it"
            ) from error

    def check_headers(self) -> None:
        """Read every file's header; raise UserError that names the first bad files."""
        from resnet_lab.data.image_file import header_fault

        self._check(header_fault)

    def verify(self) -> str:
        """Read every header, decode every image if there are not too many, and say what was done.

        Raises:
            UserError: as `check_headers`.
        """
        from resnet_lab.data.image_file import pixel_fault

        whole = len(self) <= MOST_DECODED
        if whole:
            self._check(pixel_fault)
        else:
            self.check_headers()
        found = "every file is an image" if whole else "every file has an image's header"
        others = f"; {len(self.left_out)} others are left out: " if self.left_out else ""
        return (
            f"{len(self)} images of {len(self.classes)} classes in {self.folder}: "
            f"{found}{others}{_listed(self.left_out)}"
        )

    def _check(self, look: Callable[[str], str | None]) -> None:
        from resnet_lab.data.image_file import UNKNOWN

        found = [(path, reason) for path in self.paths if (reason := look(path)) is not None]
        if found:
            faults = [(path, "" if reason == UNKNOWN else reason) for path, reason in found]
            raise _no_images(faults, len(self), self.folder)

    def fingerprint(self) -> str:
        """Return a checksum of names and contents; of names and sizes if there are many bytes.

        Raises:
            UserError: a file cannot be read.
        """
        top = len(str(self.folder)) + 1
        names = [os.fsencode(path[top:].replace(os.sep, "/")) for path in self.paths]
        try:
            sizes = [os.stat(path).st_size for path in self.paths]
            if sum(sizes) > MOST_BYTES:
                return f"sizes:{hash_files(zip(names, map(str, sizes), strict=True))}"
            contents = [file_checksum(Path(path), "sha256") for path in self.paths]
        except OSError as error:
            raise UserError(f"data: {error.filename} cannot be read: {error.strerror}") from error
        return f"contents:{hash_files(zip(names, contents, strict=True))}"


def read_trees(name: str, data_dir: Path, *, test: bool = True) -> tuple[ImageTree, ImageTree]:
    """Index the training images (``train/``) and test images (``val/``) of a dataset.

    See `image_root.tree_root` for the folder that holds both. ImageNet's public validation images
    are the test part here; a validation part is held out of the training images.

    Args:
        test: False does not read ``val/``; the second tree is then empty.

    Raises:
        UserError: a folder is missing, empty or unreadable, the two have different classes, or
            an image would count twice because of a link.
    """
    root = tree_root(name, data_dir)
    tops = [root / "train", root / "val"][: 1 + test]
    for top in tops:
        check_part(name, data_dir, top)
    reached = Reached(tops)
    parts = [_index(name, top, reached) for top in tops]
    reached.check_files()
    if not test:
        return parts[0], ImageTree(root / "val", parts[0].classes, (), ())
    _check_same_classes(name, root, *parts)
    return parts[0], parts[1]


def classes_of(name: str, data_dir: Path) -> tuple[str, ...]:
    """Return the names of the training images' class folders, without looking inside them.

    Raises:
        UserError: the folder is missing or cannot be read.
    """
    top = tree_root(name, data_dir) / "train"
    check_part(name, data_dir, top)
    return tuple(sorted(Listing(Reached([top])).open(str(top))))


def _no_images(faults: list[tuple[str, str]], count: int, folder: Path) -> UserError:
    """Error for files that are named like images but are not images.

    Args:
        faults: path and reason of each; the reason may be empty.
        count: number of all files checked.
        folder: that holds them.
    """
    named = [f"{path} ({reason})" if reason else path for path, reason in faults]
    return UserError(
        f"data: {len(faults)} of {count} files in {folder} are no images: {_listed(named)}; "
        "replace them"
    )


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _check_same_classes(name: str, root: Path, train: ImageTree, test: ImageTree) -> None:
    unshared = sorted(set(train.classes) ^ set(test.classes))
    if unshared:
        raise UserError(
            f"data: {name}: train and val in {root} must have the same class folders; "
            f"only one of them has {', '.join(unshared[:5])}{_nearly_the_same(unshared)}"
        )


def _nearly_the_same(names: list[str]) -> str:
    """Say which of these names differ only in case."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            return f". {other!a} and {name!a} are two names: spell them alike"
    return ""


def _index(name: str, folder: Path, reached: Reached) -> ImageTree:
    listing = Listing(reached)
    classes = sorted(listing.open(str(folder)))
    found = {one: listing.images(os.path.join(folder, one)) for one in classes}
    paths = tuple(path for one in classes for path in found[one])
    if listing.faults:
        raise _no_images(listing.faults, len(paths) + len(listing.faults), folder)
    empty = [one for one, images in found.items() if not images]
    if empty or not classes:
        raise UserError(
            f"data: {name}: Found {_lack(folder, empty, listing.left_out)} in {folder}. "
            f"Known endings are {', '.join(ENDINGS)}. It must hold {LAYOUT}"
        )
    labels = tuple(label for label, one in enumerate(classes) for _ in found[one])
    return ImageTree(folder, tuple(classes), paths, labels, tuple(sorted(listing.left_out)))


def _lack(folder: Path, empty: list[str], left_out: list[str]) -> str:
    """Say which classes have no image and what their folders hold, or that there is no class."""
    if not empty:
        loose = sum(path.lower().endswith(ENDINGS) for path in left_out)
        return "no class folder" + (f" ({loose} images lie in none)" if loose else "")
    inside = tuple(os.path.join(folder, one, "") for one in empty)
    names = [os.path.basename(path) for path in left_out if path.startswith(inside)]
    others = [name for name in names if name and not is_left_behind(name)]
    endings = sorted({Path(name).suffix.lower() or "none" for name in others})
    said = f" ({len(others)} files of other endings: {', '.join(endings)})" if others else ""
    return f"no valid file for the classes {_listed(empty)}{said}"
