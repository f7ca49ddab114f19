from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from tiny_runs import PAIR, PLAIN, RESIDUAL, ROOT, at_step, interrupt, member, resumed

from resnet_lab.cli import COMMANDS, main
from resnet_lab.data.datasets.cifar import CIFAR10
from resnet_lab.networks.network import build_network
from resnet_lab.networks.weights import save_weights

TRAIN = [
    "train",
    f"--network={','.join(PAIR)}",
    "--recipe.iterations=4",
    "--recipe.batch_size=16",
    "--recording.probe_size=16",
    "--trainer.device=cpu",
]
EMPTY_DATA = (
    "data: cifar10 is not complete: data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, "
    "data_batch_4.bin, data_batch_5.bin, test_batch.bin missing in here/cifar-10-batches-bin. "
    "Get it with `resnet-lab data prepare cifar10 --data-dir here`, or fetch "
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz by hand into here and do the same"
)
BAD: list[tuple[str, str]] = [
    (
        "trian",
        f"no command 'trian', did you mean 'train'? (known: {', '.join(COMMANDS)})",
    ),
    ("train --recipe.lrr 0.1", "unknown argument '--recipe.lrr', did you mean '--recipe.lr'?"),
    ("train --recipe.lrr=0.1", "unknown argument '--recipe.lrr', did you mean '--recipe.lr'?"),
    ("train --config typo.yaml", "unknown key 'recipe.lrr', did you mean 'recipe.lr'?"),
    ("train --config section.yaml", "unknown key 'recpe.lr', did you mean 'recipe.lr'?"),
    (
        "train --config unclosed.yaml",
        "Problems parsing config: while parsing a flow node did not find expected node content in "
        '"<unicode string>", line 2, column 1 (reading unclosed.yaml)',
    ),
    ("train --config nowhere.yaml", "config: File does not exist: '{cwd}/nowhere.yaml'"),
    ("train more", "unknown argument 'more'"),
    ("train --seed", "argument --seed: expected one argument"),
    ("train --seed 1.5", "seed: Expected a int. Got value: 1.5"),
    ("train --recipe.lr high", "recipe.lr: Expected a float. Got value: high"),
    ("train --recipe.lr -0.1", "recipe.lr is -0.1: give a positive number"),
    (
        "train --data.normalise chanel",
        "data.normalise: unknown 'chanel', did you mean 'channel'? "
        "(known: pixel-mean, channel, imagenet)",
    ),
    (
        "train --network plan-20",
        "unknown network 'plan-20', did you mean 'plain-20'? A name is plain-<depth> or "
        "resnet-<depth> and then options, as in resnet-56-B",
    ),
    (
        "train --network plain-56,resnet-57",
        "depth 57: CIFAR networks have 6n+2 layers; nearest: 56, 62 "
        "(ImageNet networks: 18, 34, 50, 101, 152)",
    ),
    (
        "train --data.name cifar",
        "data: unknown name 'cifar', did you mean 'cifar10'? "
        "(known: cifar10, cifar100, digits, imagenet, imagefolder)",
    ),
    (
        "train --recipe.batch_size 1295 --trainer.device cpu",
        "batch size 1295 is larger than the training part, 1294 images; use at most 1294",
    ),
    ("train --data.name cifar10 --data-dir here --trainer.device cpu", EMPTY_DATA),
    (
        "networks resnet-57",
        "depth 57: CIFAR networks have 6n+2 layers; nearest: 56, 62 "
        "(ImageNet networks: 18, 34, 50, 101, 152)",
    ),
    (
        "networks plain-20 --num-classes 0",
        "num_classes 0: it must be a whole number of at least 1",
    ),
    (
        "evaluate",
        "the following arguments are required: WEIGHTS, --network, --data "
        "(see resnet-lab evaluate --help)",
    ),
    (
        "evaluate x.pt --network resnet-8 --data digits --devic cpu",
        "unknown argument '--devic', did you mean '--device'? (see resnet-lab evaluate --help)",
    ),
    (
        "evaluate nowhere.pt --network resnet-8 --data digits --device cpu",
        "nowhere.pt: no such weights file",
    ),
    (
        "evaluate plain.pt --network resnet-8-B --data digits --device cpu",
        "plain.pt: these weights do not fit resnet-8-B: they are plain-8's, so give --network "
        "plain-8; missing: "
        "stage2.block1.shortcut.conv.weight, stage2.block1.shortcut.norm.weight, "
        "stage2.block1.shortcut.norm.bias, stage2.block1.shortcut.norm.running_mean and 6 more",
    ),
    (
        "evaluate plain.pt --network plain-8 --data digits --device cpu --batch-size 0",
        "evaluation batch size 0: it must be at least 1",
    ),
    (
        "evaluate plain.pt --network plain-8 --data digit --device cpu",
        "data: unknown name 'digit', did you mean 'digits'? "
        "(known: cifar10, cifar100, digits, imagenet, imagefolder)",
    ),
    ("report nowhere", "nowhere is no directory: give the folder that holds the runs"),
    ("claims here", "here holds no runs: no run.json at or below it"),
    (
        "claims damaged",
        "damaged holds no run that can be read: damaged: damaged/run.json is not of format 1 "
        "or 2, which this version reads",
    ),
    (
        "data verify cifar1",
        "data: unknown name 'cifar1', did you mean 'cifar10'? "
        "(known: cifar10, cifar100, digits, imagenet, imagefolder)",
    ),
    ("data verify cifar10 --data-dir here", EMPTY_DATA),
    (
        "sweep nowhere.yaml",
        "cannot read the sweep file nowhere.yaml: No such file or directory",
    ),
]


@pytest.fixture
def bad_input() -> None:
    Path("typo.yaml").write_text("recipe:\n  lrr: 0.1\n")
    Path("section.yaml").write_text("recpe:\n  lr: 0.1\n")
    Path("unclosed.yaml").write_text("recipe: [\n")
    Path("here").mkdir()
    Path("damaged").mkdir()
    Path("damaged/run.json").write_text('{"loss": 1}')
    save_weights(build_network("plain-8", num_classes=10, in_channels=1), "plain.pt")


@pytest.mark.usefixtures("bad_input")
@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_one_message_and_exit_code_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.err == f"resnet-lab: {message}\n".replace("{cwd}", os.getcwd())
    assert printed.out == ""
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    "line",
    [
        "train --trainer.device cuda",
        "evaluate plain.pt --network plain-8 --data digits --device cuda",
    ],
)
def test_a_device_that_is_not_there_is_bad_input(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"resnet-lab: device 'cuda' is not on this machine, which has: cpu(, mps)?\n", told
    )


def test_a_damaged_data_file_is_named_with_both_checksums(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path("here") / CIFAR10.folder
    folder.mkdir(parents=True)
    for file in CIFAR10.records:
        (folder / file).write_bytes(b"damaged")
    line = "train --data.name cifar10 --data-dir here --trainer.device cpu"
    assert main(line.split()) == 2
    found = hashlib.sha256(b"damaged").hexdigest()
    assert capsys.readouterr().err == (
        f"resnet-lab: data: {folder / 'data_batch_1.bin'} is damaged: sha256 expected "
        f"{CIFAR10.sha256['data_batch_1.bin']}, found {found}; bytes expected 30730000, found 7. "
        "`resnet-lab data prepare cifar10 --data-dir here` replaces it\n"
    )


# What the commands do


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert main([]) == 2
    assert capsys.readouterr().out == told
    assert re.findall(r"^  (\w+)  +\S", told, re.MULTILINE) == list(COMMANDS)


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"resnet-lab \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_train_prints_final_errors_and_the_run_directory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(TRAIN) == 0
    printed = capsys.readouterr()
    run = Path(printed.out.splitlines()[-1])
    header, plain, residual, protocol = printed.out.splitlines()[:-1]
    titles = ["network", "train error %", "validation error %", "test error %"]
    assert re.split("  +", header) == titles
    for name, line in ((PLAIN, plain), (RESIDUAL, residual)):
        final = member(run, name)["final"]
        errors = [final[f"{split}_error"] for split in ("train", "validation", "test")]
        assert line.split() == [name, *(f"{error:.2f}" for error in errors)]
    assert protocol == "digits 1294/143, seed 0, step 4"
    assert printed.err == ""

    assert main(TRAIN) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[0] == "already finished; the same run is not trained twice"
    assert again[1:] == printed.out.splitlines()


def test_an_interrupted_run_has_exit_code_1_and_the_same_command_continues_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_step(monkeypatch, 1, interrupt)
    assert main(TRAIN) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "interrupted at step 2: the same command continues it"
    )
    assert main(TRAIN) == 0
    run = Path(capsys.readouterr().out.splitlines()[-1])
    assert resumed(run) == [2]


def test_ctrl_c_outside_of_training_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_lab.networks.table.network_rows", pressed)
    assert main(["networks", "plain-20"]) == 1
    assert capsys.readouterr().err == "resnet-lab: interrupted\n"


def test_flags_win_over_files_and_later_files_over_earlier() -> None:
    from resnet_lab.cli.parsing import parse_config

    Path("a.yaml").write_text("seed: 1\nrecipe:\n  lr: 0.5\n  momentum: 0.5\n")
    Path("b.yaml").write_text("recipe:\n  lr: 0.25\n")
    config = parse_config(["--config", "a.yaml", "--config", "b.yaml", "--seed", "2"])
    assert (config.recipe.lr, config.recipe.momentum, config.seed) == (0.25, 0.5, 2)
    assert parse_config(["--seed", "2", "--config", "a.yaml"]).seed == 1


@pytest.mark.parametrize("spelling", ["--runs-dir", "--runs_dir"])
def test_folders_may_be_spelt_with_dashes_or_underscores(spelling: str) -> None:
    from resnet_lab.cli.parsing import parse_config

    assert parse_config([spelling, "elsewhere"]).runs_dir == "elsewhere"
    assert parse_config([f"{spelling}=2024"]).runs_dir == "2024"


def test_networks_prints_size_and_twin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "plain-56", "resnet-110-B", "--json"]) == 0
    plain, projected = json.loads(capsys.readouterr().out)
    assert (plain["network"], plain["twin"], plain["twin_exact"]) == ("plain-56", "resnet-56", True)
    assert plain["parameters"] == 853_018
    assert (projected["twin"], projected["twin_exact"]) == ("plain-110", False)
    assert main(["networks", "plain-56"]) == 0
    assert "853,018" in capsys.readouterr().out


def test_data_verifies_what_ships_with_a_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "digits"]) == 0
    told = capsys.readouterr().out
    assert told == "digits: 1437 training and 360 test images are in scikit-learn\n"


# Evaluation of weights


def test_a_runs_own_weights_have_its_test_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--data.normalise=channel", "--recipe.precise_bn=64"]) == 0
    run = Path(capsys.readouterr().out.splitlines()[-1])
    for name in PAIR:
        line = f"evaluate {run}/weights/{name}.pt --network {name} --data digits --device cpu"
        assert main([*line.split(), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["error"] == member(run, name)["final"]["test_error"]
        assert result["loss"] == pytest.approx(member(run, name)["final"]["test_loss"], rel=1e-6)
        assert (result["images"], result["normalise"]) == (360, "channel")
        assert result["format"] == "resnet_lab"
    wrong = f"evaluate {run}/weights/{PLAIN}.pt --network {RESIDUAL} --data digits --device cpu"
    assert main(wrong.split()) == 2
    assert capsys.readouterr().err == (
        f"resnet-lab: {run}/weights/{PLAIN}.pt holds the weights of {PLAIN}, not of {RESIDUAL}: "
        f"give --network {PLAIN}\n"
    )


@pytest.mark.parametrize(
    ("file", "network", "error"),
    [
        ("resnet20-12fca82f.th", "resnet-20", "8.27"),
        ("resnet56-4bfd9763.th", "resnet-56", "6.61"),
    ],
)
def test_released_weights_have_their_published_error_on_the_real_test_images(
    file: str,
    network: str,
    error: str,
    real_data: Path,
    real_weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = f"evaluate {real_weights / file} --network {network} --data cifar10 --device cpu"
    assert main([*line.split(), "--data-dir", str(real_data)]) == 0
    assert capsys.readouterr().out == (
        f"{network} on cifar10: test error {error} % (10,000 images, normalise imagenet, weights "
        "in akamaster's format)\n"
    )


# Help and mistakes answer at once


WITHOUT_TORCH = """
    import contextlib, io, sys
    from resnet_lab.cli import COMMANDS, main

    lines = ["", "--help", "--version", "trian", *(f"{name} --help" for name in COMMANDS)]
    lines += ["train --recipe.lrr 1", "train --network plain-57", "train --recipe.lr -1"]
    lines += ["networks plain-57", "networks", "evaluate", "data check x", "data verify cifar1"]
    lines += ["sweep nowhere.yaml", "sweep --runs-dri x", "report", "claims --jsn x"]
    lines += ["sweep sweep.yaml --dry-run"]
    for line in lines:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                main(line.split())
            except SystemExit as ended:
                assert ended.code == 0, line
        heavy = {"torch", "sklearn", "wandb", "optuna"}
        if line.split()[:1] not in (["sweep"], ["report"], ["claims"]):
            heavy |= {"numpy"}
        heavy &= set(sys.modules)
        assert not heavy, f"{line}: {heavy}"
    print(len(lines), "lines without torch")
"""


def test_help_and_mistakes_import_no_torch() -> None:
    shutil.copy(ROOT / "sweeps" / "demo_digits.yaml", "sweep.yaml")
    shutil.copytree(ROOT / "experiments", "experiments")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_TORCH)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert result.stdout == f"{len(COMMANDS) + 17} lines without torch\n"
