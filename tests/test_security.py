from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.response import addinfourl

import pytest
from checkout import own_files
from tiny_runs import PLAIN, ROOT, tiny

from resnet_lab.cli import main
from resnet_lab.data.datasets.cifar import CIFAR10, CIFAR100
from resnet_lab.data.download import fetched_archive, unpack
from resnet_lab.errors import UserError
from resnet_lab.networks.network import build_network
from resnet_lab.networks.weights import save_weights
from resnet_lab.sweeps.storage import open_storage, without_secrets
from resnet_lab.tracking import load as tracking
from resnet_lab.training.train import train

SECRET = "Xq7-secret"
SOURCES = own_files("resnet_lab/**/*.py", "analysis/**/*.py")


# Code


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """Every call in the project, with the name that is called."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call):
                yield source, ast.unparse(node.func), node


def test_nothing_that_is_read_can_be_code() -> None:
    loads = 0
    for source, name, call in calls():
        values = {one.arg: one.value for one in call.keywords}
        place = f"{source}:{call.lineno}: {name}"
        assert name not in ("eval", "exec", "compile", "__import__", "os.system"), place
        assert name not in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"), place
        assert not name.startswith(("pickle.", "joblib.", "marshal.", "shelve.", "dill.")), place
        assert "allow_pickle" not in values, place
        assert "shell" not in values, place
        if name == "torch.load":
            loads += 1
            assert ast.unparse(values["weights_only"]) == "True", place
        if name == "yaml.load":
            assert ast.unparse(call.args[1]) == "_LOADER", place
    assert loads >= 2


def test_modules_are_imported_by_registered_names_only() -> None:
    importers = {source for source, name, _ in calls() if name.endswith("import_module")}
    assert {path.relative_to(ROOT).as_posix() for path in importers} == {
        "resnet_lab/__init__.py",  # the names that the package offers
        "resnet_lab/cli/__init__.py",  # the commands
        "resnet_lab/parts/registry.py",  # the files of folders of the project
        "resnet_lab/tracking/wandb_private.py",  # the client's modules, by names that stand there
        "analysis/claims/registry.py",  # the files of one folder of the project
    }


SPELLINGS = [
    "data: {class_path: evil.Thing}",
    "data: {class_path: evil.Thing, init_args: {name: digits}}",
    "data: evil.Thing",
    "data.class_path: evil.Thing",
    "class_path: evil.Thing",
    "trainer: {device: evil.Thing}",
    "wandb: {class_path: evil.thing}",
    "config: evil.Thing",
    "seed: !!python/object/apply:evil.thing []",
]


@pytest.mark.parametrize("text", [*SPELLINGS, *(f"--{one}" for one in SPELLINGS)])
def test_no_key_of_a_configuration_names_code(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil.py").write_text(
        "import pathlib\npathlib.Path('imported').touch()\nclass Thing: pass\nthing = Thing\n"
    )
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    if text.startswith("--"):
        name, _, value = text.partition(": ")
        arguments = ["train", f"{name}={value}"]
    else:
        Path("run.yaml").write_text(text)
        arguments = ["train", "--config=run.yaml"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("imported").exists()
    assert "evil" not in sys.modules


def test_a_sweep_cannot_name_code_either(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("evil.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    monkeypatch.syspath_prepend(Path.cwd())
    for parameter in ("data: {value: evil.Thing}", "data.class_path: {value: evil.Thing}"):
        Path("s.yaml").write_text(f"program: evil.py\nmethod: grid\nparameters: {{{parameter}}}\n")
        assert main(["sweep", "s.yaml", "--dry-run"]) == 2
        assert not Path("imported").exists()


# Downloads and archives


def test_downloads_are_over_https_with_a_checksum() -> None:
    for version in (CIFAR10, CIFAR100):
        assert version.url.startswith("https://")
        assert len(version.archive_md5) == 32


def test_a_redirection_to_http_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def redirected(url: str, timeout: float) -> addinfourl:
        return addinfourl(BytesIO(b"archive"), {}, "http://elsewhere/archive")  # type: ignore[arg-type]

    monkeypatch.setattr("urllib.request.urlopen", redirected)
    with (
        pytest.raises(UserError, match="redirected to http://elsewhere/archive, which is no"),
        fetched_archive("https://host/archive", "0" * 32, Path("data")),
    ):
        pass
    assert list(Path("data").iterdir()) == []


def test_wandb_cannot_put_files_elsewhere(tmp_path: Path) -> None:
    downloaded = []

    def file(name: str) -> SimpleNamespace:
        def download(root: str, replace: bool) -> BytesIO:
            downloaded.append(name)
            return BytesIO()

        return SimpleNamespace(name=name, md5="", download=download)

    offered = [file("run_directory/run.json"), file("../../../.bashrc"), file("/etc/passwd")]
    run = SimpleNamespace(files=lambda names: offered)
    tracking._download(run, tmp_path)
    assert downloaded == ["run_directory/run.json"]
    with pytest.raises(UserError, match=r"W&B names a run '\.\./x', which is no folder's name"):
        tracking._folder_name("../x")


# Secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://me:{SECRET}@host/db", "postgresql://me@host/db"),
        (f"postgresql://me:{SECRET}@x@host:5/db", "postgresql://me@host:5/db"),
        (f"postgresql://host/db?user=me&password={SECRET}", "postgresql://host/db"),
        (f"mysql://me:{SECRET}/@host/db", "mysql://me@host/db"),
        (f"postgresql://me:x@host:{SECRET}/db", "postgresql://me@host/db"),
        (f"me:{SECRET}@host", "host"),
        ("sqlite:///study.db", "sqlite:///study.db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}/x@host:port/db",
        f"postgresql://me:x@host:{SECRET}/db",
        f"mysql://me:{SECRET}@host/db",
        f"sqlite://me:{SECRET}@host/db",
        f"{SECRET}@host",
    ],
)
def test_a_storage_that_cannot_be_used_keeps_its_password(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as refused:
        open_storage(url, Path())
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    Path("s.yaml").write_text("method: grid\nparameters: {seed: {value: 0}}\n")
    assert main(["sweep", "s.yaml", "--dry-run", f"--storage={url}"]) == 2
    assert SECRET not in capsys.readouterr().err


def test_keys_of_services_are_not_written_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_API_KEY", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    train(tiny(iterations=4))
    assert main(["doctor", "runs"]) == 0
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_no_process_of_a_sweep_carries_a_password_in_its_command_line(postgresql: str) -> None:
    place = postgresql.partition("://")[2].partition("@")[2]
    storage = f"postgresql://postgres:{SECRET}@{place}"
    Path("s.yaml").write_text(
        f"method: grid\nparameters:\n  network: {{value: {PLAIN}}}\n  seed: {{min: 0, max: 3}}\n"
    )
    flags = ["--recipe.iterations=30", "--recipe.batch_size=16", "--trainer.device=cpu"]
    with subprocess.Popen(
        [sys.executable, "-m", "resnet_lab", "sweep", "s.yaml", "--workers=2", "--", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RESNET_LAB_STORAGE": storage},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        seen: set[str] = set()
        while sweep.poll() is None:
            seen |= {line for line in command_lines() if "resnet_lab" in line or "spawn" in line}
            time.sleep(0.1)
        assert sweep.stdout is not None
        told = sweep.stdout.read()
    assert sweep.returncode == 0, told
    assert any("spawn" in line for line in seen)
    assert not [line for line in (*seen, told) if SECRET in line]
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert len(list(Path("runs").rglob("run.json"))) == 4
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def command_lines() -> Iterator[str]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


# Permissions


@pytest.fixture(params=[0o002, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_have_the_permissions_that_the_user_wants(umask: int) -> None:
    train(tiny(iterations=4))
    save_weights(build_network(PLAIN, num_classes=10), "weights.pt")
    with tarfile.open("archive.tar", "w") as archive:
        member = tarfile.TarInfo("d/a.bin")
        member.mode, member.size = 0o4777, 3
        archive.addfile(member, BytesIO(b"abc"))
    unpack(Path("archive.tar"), "d", ["a.bin"], Path("data"))
    open_storage(None, Path("study"))
    written = [path for path in Path().rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(written) >= 9
    for path in Path().rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.slow
def test_what_the_report_writes_has_the_permissions_that_the_user_wants() -> None:
    before = os.umask(0o027)
    try:
        train(tiny(iterations=4))
        assert main(["report", "runs", "--out", "report"]) == 0
    finally:
        os.umask(before)
    for path in Path("report").rglob("*"):
        wanted = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert Path("report/index.html").is_file()
