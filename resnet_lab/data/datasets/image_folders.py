"""ImageNet, and any images in folders ``train/CLASS`` and ``val/CLASS``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.data.config import DataConfig, prepare_command
from resnet_lab.data.dataset import DATASETS, Dataset
from resnet_lab.data.image_root import check_part, tree_root
from resnet_lab.files import is_left_behind

if TYPE_CHECKING:
    from resnet_lab.data.loader import Data
    from resnet_lab.data.normalisation import Normalisation


@dataclass(frozen=True, kw_only=True)
class ImageFolders(Dataset):
    """Images that are decoded while training; network inputs are 224x224 (R 3.4)."""

    in_memory = False

    def load(self, config: DataConfig, data_dir: Path, normalisation: Normalisation | None) -> Data:
        from resnet_lab.data.folders import load_folders

        return load_folders(config, data_dir, normalisation)

    def fingerprint(self, data_dir: Path, *, test: bool) -> dict[str, Any]:
        """Return checksums of file names and contents (sizes if there are many bytes)."""
        from resnet_lab.data.image_tree import read_trees

        trees = read_trees(self.name, data_dir, test=test)
        known = {"train": trees[0], **({"test": trees[1]} if test else {})}
        return {"images": len(trees[0])} | {part: one.fingerprint() for part, one in known.items()}

    def check_there(self, data_dir: Path, *, test: bool) -> None:
        for part in ("train", "val")[: 1 + test]:
            check_part(self.name, data_dir, tree_root(self.name, data_dir) / part)

    def verify(self, data_dir: Path) -> list[str]:
        """Read every file's header; also decode every image if there are not too many."""
        from resnet_lab.data.image_tree import read_trees

        return [f"{self.name}: {tree.verify()}" for tree in read_trees(self.name, data_dir)]

    def presence(self, data_dir: Path) -> tuple[str, str]:
        """Count the class folders of both parts, without looking at images."""
        root = tree_root(self.name, data_dir)
        counts = {part: _class_folders(root / part) for part in ("train", "val")}
        if not any(counts.values()):
            hint = f"put train/CLASS/*.jpg and val/CLASS/*.jpg into {data_dir / self.name}"
            return "not there", hint
        state = ", ".join(f"{count} classes in {root / part}" for part, count in counts.items())
        if counts["train"] != counts["val"]:
            return f"not complete: {state}", "both parts must have the same class folders"
        return state, f"every file: {prepare_command(self.name, data_dir, 'verify')}"


def _class_folders(folder: Path) -> int:
    found = folder.iterdir() if folder.is_dir() else ()
    return sum(path.is_dir() and not is_left_behind(path.name) for path in found)


DATASETS.add(
    "imagenet",
    ImageFolders(
        name="imagenet",
        image_shape=(3, 224, 224),
        num_classes=1000,
        test_images=50_000,
        validation_size=50_000,
        test_views=("centre", "ten-crop", "multi-scale"),
        aliases=("imagenet1k", "ilsvrc", "ilsvrc2012", "ilsvrc12", "imagenet2012", "imnet"),
        confusable=(
            *("tinyimagenet", "miniimagenet", "imagenet100", "imagenet21k", "imagenet22k"),
            *("imagenetv2", "imagenet32", "imagenet64"),
        ),
    ),
)
DATASETS.add(
    "imagefolder",
    ImageFolders(
        name="imagefolder",
        image_shape=(3, 224, 224),
        test_views=("centre", "ten-crop", "multi-scale"),
    ),
)
