"""Fetch an archive over https, and unpack only the expected files.

pooch is not used: it follows redirects to http and unpacks everything in an archive.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError

from resnet_lab.data.checksums import file_checksum
from resnet_lab.errors import UserError

_TIMEOUT_SECONDS = 60


@contextmanager
def fetched_archive(url: str, md5: str, data_dir: Path) -> Iterator[Path]:
    """Yield the archive of `url`: the copy in `data_dir`, else a temporary download.

    Raises:
        UserError: it cannot be fetched, or its checksum is not `md5`. A wrong download is
            deleted; a wrong file in `data_dir` is kept.
    """
    by_hand = data_dir / PurePosixPath(url).name
    if by_hand.is_file():
        _check_archive(by_hand, md5)
        yield by_hand
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder:
        archive = Path(folder) / by_hand.name
        _fetch(url, archive, by_hand)
        _check_archive(archive, md5)
        yield archive


def unpack(archive: Path, folder: str, files: list[str], data_dir: Path) -> None:
    """Unpack `files` of `folder` from a tar archive into `data_dir`/`folder`.

    Nothing else is unpacked. Existing files are replaced, and only after all have been read.

    Raises:
        UserError: the archive is damaged, lacks one of the files, or has a member that points
            outside the target folder; then nothing is written.
    """
    (data_dir / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=data_dir) as scratch:
        try:
            with tarfile.open(archive) as content:
                _extract(content, [f"{folder}/{file}" for file in files], Path(scratch))
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise UserError(f"data: {archive} cannot be unpacked: {error}") from error
        for file in files:
            (Path(scratch) / folder / file).replace(data_dir / folder / file)


def _extract(content: tarfile.TarFile, wanted: list[str], scratch: Path) -> None:
    members = {member.name: member for member in content.getmembers()}
    for member in members.values():
        if member.name.startswith("/"):
            raise tarfile.AbsolutePathError(member)
        tarfile.data_filter(member, str(scratch))
    for name in wanted:
        if name not in members or not members[name].isfile():
            raise tarfile.ReadError(f"it holds no file {name}")
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        source = content.extractfile(members[name])
        assert source is not None
        # Copied, not extracted: the file then has the user's own permissions, not the archive's.
        with source, (scratch / name).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _fetch(url: str, target: Path, by_hand: Path) -> None:
    assert url.startswith("https://")
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
            target.open("wb") as file,
        ):
            if not response.url.startswith("https://"):
                raise OSError(f"redirected to {response.url}, which is not https")
            shutil.copyfileobj(response, file, 1 << 20)
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise UserError(
            f"data: {url} cannot be fetched ({reason}). Fetch it by hand, "
            f"put it at {by_hand} and prepare the data again"
        ) from error


def _check_archive(path: Path, md5: str) -> None:
    if (found := file_checksum(path, "md5")) != md5:
        raise UserError(
            f"data: {path} is not the archive it should be, or is damaged: md5 expected {md5}, "
            f"found {found}. Remove it and fetch it again"
        )
