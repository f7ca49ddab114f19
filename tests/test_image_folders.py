from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import encoded, png
from PIL import Image
from test_bad_input import GREY, time_limit

from resnet_lab.cli import main
from resnet_lab.data import folders, image_tree
from resnet_lab.data.config import DataConfig
from resnet_lab.data.image_tree import ImageTree, read_trees
from resnet_lab.data.load import load_data
from resnet_lab.data.prepare import verify
from resnet_lab.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5, 3), dtype=np.uint8)
TRAIN, VAL = Path("images/train"), Path("images/val")


@pytest.fixture(autouse=True)
def data_dir() -> Path:
    """Two classes, a and b, of three images each in train and one in val."""
    for row, place in zip(PIXELS, (TRAIN / "a", TRAIN / "b", VAL / "a", VAL / "b"), strict=True):
        place.mkdir(parents=True)
        for number, pixels in enumerate(row[: 3 if place.parent == TRAIN else 1]):
            (place / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    return Path("images")


def refused(
    action: Callable[[], object] = lambda: read_trees("imagefolder", Path("images")),
) -> str:
    with time_limit(), pytest.raises(UserError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def counts(**config: object) -> dict[str, int]:
    settings = {"name": "imagefolder", "protocol": "full", "workers": 0, **config}
    return load_data(DataConfig(**settings), Path("images")).counts  # type: ignore[arg-type]


# Images that links lead to twice


def link(path: Path, target: Path) -> None:
    path.symlink_to(os.path.relpath(target, path.parent))


def class_before_its_target() -> None:
    (TRAIN / "b").rename(TRAIN / "z")
    link(TRAIN / "b", TRAIN / "z")


def classes_that_lead_to_one_folder() -> None:
    (TRAIN / "a").rename("of-a")
    link(TRAIN / "a", Path("of-a"))
    link(TRAIN / "c", Path("of-a"))


def val_is_a_link() -> None:
    VAL.rename("old-val")
    link(VAL, TRAIN)


def train_is_a_link() -> None:
    TRAIN.rename("old-train")
    link(TRAIN, VAL)


def a_class_of_val_is_trained_on() -> None:
    (VAL / "b").rename("of-b")
    link(VAL / "b", TRAIN / "b")


def a_folder_in_a_linked_folder() -> None:
    Path("more").mkdir()
    link(Path("more/inner"), TRAIN / "a")
    link(TRAIN / "b/more", Path("more"))


def files_that_lead_to_one_image() -> None:
    (TRAIN / "a/0.png").rename("0.png")
    link(TRAIN / "a/0.png", Path("0.png"))
    link(VAL / "b/9.png", Path("0.png"))


TWO_LABELS = "whose images would count under two labels"
LEAK = "whose images would be trained on and tested on"
TWICE = "whose images would count twice"
LINKS: dict[str, tuple[Callable[[], object], str]] = {
    "class": (
        lambda: link(TRAIN / "c", TRAIN / "a"),
        f"{TRAIN}/c is a link to {TRAIN}/a, {TWO_LABELS}: remove the link {TRAIN}/c",
    ),
    "class before its target": (
        class_before_its_target,
        f"{TRAIN}/b is a link to {TRAIN}/z, {TWO_LABELS}: remove the link {TRAIN}/b",
    ),
    "classes elsewhere": (
        classes_that_lead_to_one_folder,
        f"{TRAIN}/c and {TRAIN}/a lead to one folder, {TWO_LABELS}: "
        f"remove one of the links {TRAIN}/c and {TRAIN}/a",
    ),
    "val": (val_is_a_link, f"{VAL} is a link to {TRAIN}, {LEAK}: remove the link {VAL}"),
    "train": (train_is_a_link, f"{TRAIN} is a link to {VAL}, {LEAK}: remove the link {TRAIN}"),
    "class of val": (
        a_class_of_val_is_trained_on,
        f"{VAL}/b is a link to {TRAIN}/b, {LEAK}: remove the link {VAL}/b",
    ),
    "class of train": (
        lambda: link(TRAIN / "c", VAL / "b"),
        f"{TRAIN}/c is a link to {VAL}/b, {LEAK}: remove the link {TRAIN}/c",
    ),
    "folder in a linked folder": (
        a_folder_in_a_linked_folder,
        f"{TRAIN}/b/more/inner is a link to {TRAIN}/a, {TWO_LABELS}: "
        f"remove the link {TRAIN}/b/more/inner",
    ),
    "file": (
        lambda: link(TRAIN / "b/9.png", TRAIN / "a/2.png"),
        f"{TRAIN}/b/9.png is a link to {TRAIN}/a/2.png, {TWO_LABELS}: "
        f"remove the link {TRAIN}/b/9.png",
    ),
    "file before its target": (
        lambda: link(TRAIN / "a/9.png", VAL / "b/0.png"),
        f"{TRAIN}/a/9.png is a link to {VAL}/b/0.png, {LEAK}: remove the link {TRAIN}/a/9.png",
    ),
    "file of the same class": (
        lambda: link(TRAIN / "a/9.png", TRAIN / "a/2.png"),
        f"{TRAIN}/a/9.png is a link to {TRAIN}/a/2.png, {TWICE}: remove the link {TRAIN}/a/9.png",
    ),
    "files elsewhere": (
        files_that_lead_to_one_image,
        f"{VAL}/b/9.png and {TRAIN}/a/0.png lead to one file, {LEAK}: "
        f"remove one of the links {VAL}/b/9.png and {TRAIN}/a/0.png",
    ),
    "hard link": (
        lambda: os.link(TRAIN / "a/2.png", TRAIN / "b/9.png"),
        f"{TRAIN}/b/9.png and {TRAIN}/a/2.png are one file, {TWO_LABELS}: remove one of the two",
    ),
    "hard link in val": (
        lambda: os.link(TRAIN / "a/2.png", VAL / "a/9.png"),
        f"{VAL}/a/9.png and {TRAIN}/a/2.png are one file, {LEAK}: remove one of the two",
    ),
}


@pytest.mark.parametrize("case", LINKS)
def test_an_image_that_is_reached_twice_is_refused_and_the_link_named(case: str) -> None:
    make, said = LINKS[case]
    make()
    assert refused() == f"data: {said}"
    assert refused(lambda: verify("imagefolder", Path("images"))) == f"data: {said}"


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_to_a_folder_that_holds_the_data_set_is_refused(target: str) -> None:
    up = TRAIN / "a" / "up"
    up.symlink_to(Path(target) if target == "/" else Path("..") / target)
    assert refused().startswith(f"data: {up} is a link to ")
    assert refused().endswith(f": remove the link {up}")


@pytest.mark.parametrize(("real", "linked"), [(VAL, TRAIN), (TRAIN, VAL)])
def test_a_part_in_the_other_part_is_refused(real: Path, linked: Path) -> None:
    (real / "c").mkdir()
    for one in "ab":
        (linked / one).rename(real / "c" / one)
    linked.rmdir()
    link(linked, real / "c")
    assert refused() == (
        f"data: {linked} is a link to {(real / 'c').resolve()}, in {real}, {LEAK}: "
        f"remove the link {linked}"
    )


def test_a_file_is_one_although_the_listing_does_not_tell_its_inode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some file systems in user space tell the same number of every file."""
    os.link(TRAIN / "a/2.png", TRAIN / "b/9.png")
    from resnet_lab.data.links import Reached

    note = Reached.note
    monkeypatch.setattr(Reached, "note", lambda self, path, inode: note(self, path, 2**64 - 1))
    assert f"{TRAIN}/b/9.png and {TRAIN}/a/2.png are one file" in refused()
    (TRAIN / "b/9.png").unlink()
    assert counts() == {"train": 6, "test": 2}


def test_links_that_lead_to_every_image_once_are_followed(tmp_path: Path) -> None:
    """The data directory, train and val, classes, and files: all of them links."""
    real = tmp_path / "real"
    Path("images").rename(real)
    for part in ("train", "val"):
        (tmp_path / "subset" / part).mkdir(parents=True)
        (tmp_path / "subset" / part / "a").symlink_to(real / part / "a")
        (tmp_path / "subset" / part / "b").mkdir()
        for file in (real / part / "b").iterdir():
            (tmp_path / "subset" / part / "b" / file.name).symlink_to(file)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "train").symlink_to(tmp_path / "subset" / "train")
    (tmp_path / "parts" / "val").symlink_to(real / "val")
    Path("images").symlink_to(tmp_path / "parts")
    assert counts() == {"train": 6, "test": 2}
    assert [line.split(":")[-1] for line in verify("imagefolder", Path("images"))] == [
        " every file is an image"
    ] * 2


def test_copies_by_hard_links_are_images_of_their_own() -> None:
    Path("copy").mkdir()
    for file in TRAIN.rglob("*.png"):
        os.link(file, Path("copy") / "-".join(file.parts))
    assert counts() == {"train": 6, "test": 2}


def test_without_test_images_val_may_be_anything() -> None:
    val_is_a_link()
    assert counts(test=False) == {"train": 6}


# What is no data

STRANGERS = (
    *(".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "notes.txt", "film.gif"),
    *(".hidden.jpg", ".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/a/._0.png"),
    *("@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", ".git/config", "lost+found/1.png"),
)


def test_what_systems_and_editors_leave_behind_is_no_image_and_no_class() -> None:
    before = read_trees("imagefolder", Path("images"))
    for folder in (TRAIN, TRAIN / "a", VAL, VAL / "b"):
        for name in STRANGERS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("stranger")
    trees = read_trees("imagefolder", Path("images"))
    assert [tree.paths for tree in trees] == [tree.paths for tree in before]
    assert [tree.classes for tree in trees] == [("a", "b")] * 2
    names = {f"{name.split('/')[0]}/" if "/" in name else name for name in STRANGERS}
    expected = sorted(f"{folder}/{name}" for folder in (TRAIN, TRAIN / "a") for name in names)
    assert list(trees[0].left_out) == expected
    line = verify("imagefolder", Path("images"))[0]
    assert line.startswith(
        f"imagefolder: 6 images of 2 classes in {TRAIN}: every file is an image; 24 others are "
        f"left out: {', '.join(expected[:5])}, ..."
    )


def test_images_that_lie_in_no_class_are_counted() -> None:
    for folder in (TRAIN / "a", TRAIN / "b"):
        for file in folder.iterdir():
            file.rename(TRAIN / f"{folder.name}{file.name}")
        folder.rmdir()
    assert f"Found no class folder (6 images lie in none) in {TRAIN}." in refused()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "for the classes c in"),
        ((".DS_Store", "._0.jpg", "Thumbs.db"), "for the classes c in"),
        (
            ("x.GIF", "y.heic", "z.heic", ".DS_Store"),
            "for the classes c (3 files of other endings: .gif, .heic) in",
        ),
    ],
)
def test_a_class_without_images_is_refused_and_says_what_it_has(
    names: tuple[str, ...], told: str
) -> None:
    (TRAIN / "c").mkdir()
    for name in names:
        (TRAIN / "c" / name).touch()
    assert f"Found no valid file {told} {TRAIN}." in refused()


# What is no image


PALETTE = Image.fromarray(PIXELS[0, 0]).quantize(4)
CONTENTS: dict[str, tuple[bytes, str]] = {
    "GIF": (encoded(PIXELS[0, 0], "GIF"), "cannot identify image file: it is a GIF image, and"),
    "AVIF": (encoded(PIXELS[0, 0], "AVIF"), "it is an AVIF image, and read are JPEG, PNG, PPM"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC image, and read are JPEG, PNG, PPM"),
    "16 bits": (encoded(GREY, "PNG"), "its mode I;16 has more than 8 bits a channel"),
    "empty": (b"", "cannot identify image file: it is empty, and read are"),
    "web page": (b"<!DOCTYPE html>", "it is a web page, as failed downloads leave, and"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; `git lfs"),
    "huge": (png(9_000, 9_950, b""), "9000 x 9950 pixels are more than 89,478,485"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_verifying_loading_and_reading_say_the_same_of_a_file(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content, reason = CONTENTS[kind]
    path = TRAIN / "b/1.png"
    path.write_bytes(content)
    read = refused(lambda: read_trees("imagefolder", Path("images"))[0].read(4))
    told = read.removeprefix(f"data: {path} is not a readable image (").removesuffix(
        "); replace it"
    )
    assert reason in told
    said = f"data: 1 of 6 files in {TRAIN} are no images: {path} ({told}); replace them"
    assert refused(lambda: verify("imagefolder", Path("images"))) == said
    assert refused(counts) == said
    monkeypatch.setattr(image_tree, "MOST_DECODED", 0)
    assert refused(lambda: verify("imagefolder", Path("images"))) == said
    monkeypatch.setattr(folders, "MOST_OPENED", 0)
    assert counts() == {"train": 6, "test": 2}


def test_an_image_that_is_cut_off_is_found_by_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    path = VAL / "a/0.png"
    path.write_bytes(encoded(PIXELS[0, 0], "JPEG")[:-30])
    with monkeypatch.context() as patch:
        patch.setattr(image_tree, "MOST_DECODED", 1)
        assert verify("imagefolder", Path("images"))[1].endswith(
            f"2 images of 2 classes in {VAL}: every file has an image's header"
        )
    said = refused(lambda: verify("imagefolder", Path("images")))
    assert said.startswith(
        f"data: 1 of 2 files in {VAL} are no images: {path} (image file is trunc"
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path), "it is no file"),
        (lambda path: path.symlink_to("gone.png"), "its link is broken"),
        (lambda path: path.symlink_to(path.name), "its link is broken"),
        (lambda path: path.symlink_to("/dev/null"), "it is no file"),
    ],
    ids=["pipe", "link to nothing", "link to itself", "device"],
)
def test_what_is_no_file_is_found_before_training(
    make: Callable[[Path], None], reason: str
) -> None:
    make(TRAIN / "a/9.png")
    make(TRAIN / "a/.hidden.png")
    said = f"data: 1 of 7 files in {TRAIN} are no images: {TRAIN}/a/9.png ({reason}); replace them"
    assert refused() == refused(counts) == said
    (TRAIN / "a/9.png").unlink()
    assert counts() == {"train": 6, "test": 2}


def test_a_class_behind_a_broken_link_is_not_lost_in_silence() -> None:
    for part in (TRAIN, VAL):
        (part / "c").symlink_to("/media/unplugged/c")
    said = f"data: 1 of 7 files in {TRAIN} are no images: {TRAIN}/c (its link is broken); replace"
    assert refused().startswith(said)


def test_a_folder_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path == str(TRAIN / "b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert refused() == f"data: {TRAIN}/b cannot be read: Permission denied"


def test_colours_are_those_of_the_file_whatever_else_it_says(tmp_path: Path) -> None:
    """Degrees of transparency, and a camera's note that the image is to be turned."""
    path = tmp_path / "image"
    tree = ImageTree(tmp_path, ("a",), (str(path),), (0,))
    PALETTE.save(path, "PNG", transparency=bytes([0, 100, 255, 255]))
    expected = np.array(PALETTE.convert("RGB"))
    assert np.array_equal(tree.read(0).permute(1, 2, 0).numpy(), expected)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[0, 0]).save(path, "PNG", exif=exif)
    assert np.array_equal(tree.read(0).permute(1, 2, 0).numpy(), PIXELS[0, 0])
    Image.fromarray(PIXELS[0, 0]).convert("CMYK").save(path, "JPEG", quality=100)
    assert tree.read(0).shape == (3, 6, 5)


def test_any_name_of_a_file_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    content = (TRAIN / "a/0.png").read_bytes()
    for name in (b"UPPER.PNG", b"Mixed.JpEg", b"\xff\xfe.png", b"two\nlines.png", b" .png"):
        with open(os.path.join(os.fsencode(TRAIN / "a"), name), "wb") as file:
            file.write(content)
    (TRAIN / "a" / "more\nlines.txt").touch()
    assert counts() == {"train": 11, "test": 2}
    assert main(["data", "verify", "imagefolder", "--data-dir=images"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(f"1 others are left out: {TRAIN}/a/more\\nlines.txt")


# Where the folders are


def test_classes_that_differ_in_case_are_named() -> None:
    (VAL / "b").rename(VAL / "B")
    assert refused() == (
        "data: imagefolder: train and val in images must have the same class folders; "
        "only one of them has B, b. 'B' and 'b' are two names: spell them alike"
    )


@pytest.mark.parametrize("given", ["images/train", "images/train/a", "images/val", "."])
def test_a_data_directory_a_level_off_is_put_right(given: str) -> None:
    said = refused(lambda: read_trees("imagefolder", Path(given)))
    assert said.startswith(f"data: imagefolder has no folder {Path(given) / 'train'}; it must hold")
    assert "There is a folder " in said
    right = Path(said.split("--data-dir ")[1])
    assert right.resolve() == Path("images").resolve()
    assert len(read_trees("imagefolder", right)[0]) == 6


def test_a_folder_deep_in_an_archive_is_found() -> None:
    Path("archive/ILSVRC/Data").mkdir(parents=True)
    Path("images").rename("archive/ILSVRC/Data/CLS-LOC")
    said = refused(lambda: read_trees("imagenet", Path("archive")))
    assert said.endswith(": --data-dir archive/ILSVRC/Data/CLS-LOC")


def test_an_empty_folder_of_the_data_sets_name_hides_nothing() -> None:
    Path("images/imagefolder").mkdir()
    assert counts() == {"train": 6, "test": 2}


@pytest.mark.parametrize("name", ["valid", "validation", "test", "Val"])
def test_test_images_under_another_name_are_pointed_at(name: str) -> None:
    VAL.rename(VAL.with_name(name))
    assert refused().endswith(f"There is images/{name}: if it holds the test images, name it val")
