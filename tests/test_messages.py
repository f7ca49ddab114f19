"""What the command line answers to words, values and paths that it does not know."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tiny_runs import PLAIN, ROOT, at_step, interrupt, tiny

from analysis.doctor import examine
from analysis.text import wrapped
from resnet_lab.cli import COMMANDS, main, synonyms
from resnet_lab.cli.flags import Accepted, way_out
from resnet_lab.cli.parsing import config_parser
from resnet_lab.cli.sweep import sweep_parser
from resnet_lab.cli.train import size_notes
from resnet_lab.data.config import prepare_command
from resnet_lab.errors import nearest, suggest_path
from resnet_lab.runs.frames import load_runs
from resnet_lab.training.train import train

EPOCHS = "--recipe.iterations N, with N = epochs x training images / batch size"
SEVERAL = "for several give a sweep file the parameter seed: {values: [0, 1, 2]}"
FLAGS = {
    # what is called otherwise here
    "train --data cifar10": ", did you mean '--data.name cifar10'?",
    "train --dataset=cifar10": ", did you mean '--data.name cifar10'?",
    "train --lr 0.1": ", did you mean '--recipe.lr'?",
    "train --learning-rate 0.1": ", did you mean '--recipe.lr'?",
    "train --optimizer.lr 0.1": ", did you mean '--recipe.lr'?",
    "train --SEED 3": ", did you mean '--seed'?",
    "train -network plain-8": ", did you mean '--network'?",
    "train --max_steps 10": ", did you mean '--recipe.iterations'?",
    "train --trainer.max_steps 10": ", did you mean '--recipe.iterations'?",
    "train --bs 16": ", did you mean '--recipe.batch_size'?",
    "train --data.batch_size 16": ", did you mean '--recipe.batch_size'?",
    "train --wd 0": ", did you mean '--recipe.weight_decay'?",
    "train --momentum 0": ", did you mean '--recipe.momentum'?",
    "train --device cpu": ", did you mean '--trainer.device'?",
    "train --num_workers 2": ", did you mean '--data.workers'?",
    "train --arch resnet-20": ", did you mean '--network'?",
    "train --output_dir x": ", did you mean '--runs-dir'?",
    "train --runs_dirr x": ", did you mean '--runs-dir'?",
    "train --data.dir x": ", did you mean '--data-dir'?",
    "train --data.path x": ", did you mean '--data-dir'?",
    "train --project x": ", did you mean '--wandb.project'?",
    "train --tags x": ", did you mean '--wandb.tags'?",
    "train --notes x": ": a run has no notes; tags go to W&B by --wandb.tags '[a, b]'",
    "train --cfg.model.name x": ", did you mean '--network'?",
    "train --cfg.data.name x": ", did you mean '--data.name'?",
    "train --OPTIM.MAX_EPOCH 3": f": the recipe counts iterations, not epochs: {EPOCHS}",
    "report x --output y": ", did you mean '--out'?",
    "evaluate --dataset cifar10": ", did you mean '--data'?",
    "evaluate --data.name cifar10": ", did you mean '--data'?",
    "evaluate --recipe.batch_size 3": ", did you mean '--batch-size'?",
    "evaluate x --normalize channel": ", did you mean '--normalise'?",
    "networks --classes 3": ", did you mean '--num-classes'?",
    "sweep x --jobs 3": ", did you mean '--workers'?",
    "sweep x --gpus 0,1": ", did you mean '--devices'?",
    "sweep x --run_cap 3": ", did you mean '--count'?",
    "sweep x --dry_run": ", did you mean '--dry-run'?",
    "doctor --data_dir x": ", did you mean '--data-dir'?",
    # what is an argument without a flag
    "report --runs-dir here": ": RUNS_DIR is given without a flag: resnet-lab report here",
    "evaluate --weights x.pt": ": WEIGHTS is given without a flag: resnet-lab evaluate x.pt",
    "networks --model plain-8": ": NAME is given without a flag: resnet-lab networks plain-8",
    "data prepare --name cifar10": ": NAME is given without a flag: "
    "resnet-lab data prepare cifar10",
    # what a sweep hands on
    "sweep x --lr 3": ": what is for every run stands after a lone --, as in -- --recipe.lr 3",
    "sweep x --recipe.iterations=3": ": what is for every run stands after a lone --, as in "
    "-- --recipe.iterations 3",
    "sweep x --data cifar10": ": what is for every run stands after a lone --, as in "
    "-- --data.name cifar10",
    # what is not to be had, or otherwise
    "train --epochs 8": f": the recipe counts iterations, not epochs: {EPOCHS}",
    "train --recipe.epochs 8": f": the recipe counts iterations, not epochs: {EPOCHS}",
    "train --trainer.max_epochs 8": f": the recipe counts iterations, not epochs: {EPOCHS}",
    "sweep x --epochs 8": f": the recipe counts iterations, not epochs: {EPOCHS} (flags for every "
    "run stand after a lone --)",
    "train --optimizer adam": ": it is --recipe.optimizer sgd, adamw or lars; settings",
    "train --optimizer.name adam": ": it is --recipe.optimizer sgd, adamw or lars; settings",
    "train --resume": ": no flag is needed: the same command continues an interrupted run",
    "sweep x --resume": ": no flag is needed: the same command continues an interrupted run",
    "train --checkpoint x": ": no flag is needed: the same command continues",
    "train --pretrained": ": every network is trained from its own initial values",
    "train --eval": ": the test error is measured at the end of every training",
    "train --name x": ": a run is named by what it is",
    "train --seeds 3": f": one run has one seed, --seed N; {SEVERAL}",
    "train --depth 20": ": it is a part of a network's name, such as plain-20",
    "train --fp16": ": the arithmetic is set by --recipe.precision: float32, bfloat16 or auto",
    "train --gpus 2": ": --trainer.devices N trains on N GPUs",
    "train --wandb": ": runs are mirrored to W&B by --tracking wandb",
    # nothing is near
    "train --xyzzy 3": "",
    "train --json": "",
    "train --dropout 0.5": "",
    "claims x --wandb": "",
    "doctor --fix": "",
    "evaluate x --workers 2": ", did you mean '--data.workers'?",
    "networks --seed 1": "",
}
KEYS = {
    "lr: 0.1": "unknown key 'lr', did you mean 'recipe.lr'?",
    "recipe: {learning_rate: 0.1}": "unknown key 'recipe.learning_rate', did you mean 'recipe.lr'?",
    "recipe.learning_rate: 1": "unknown key 'recipe.learning_rate', did you mean 'recipe.lr'?",
    "batch-size: 3": "unknown key 'batch-size', did you mean 'recipe.batch_size'?",
    "output_dir: x": "unknown key 'output_dir', did you mean 'runs_dir'?",
    "dataset: cifar10": "unknown key 'dataset', did you mean 'data.name'?",
    "epochs: 8": f"unknown key 'epochs': the recipe counts iterations, not epochs: {EPOCHS[2:]}",
    "xyzzy: 8": "unknown key 'xyzzy'",
    "data: cifar10": "data is 'cifar10': give its keys, such as data.name: cifar10",
    "recipe:": "recipe is None: give its keys, such as recipe.iterations",
    "network: [plain-8, resnet-8]": "network: Expected a str. Got value: ['plain-8', 'resnet-8']; "
    "write plain-8,resnet-8",
    "recipe: {drops: 100}": "recipe.drops: Expected a tuple. Got value: 100; write [100]",
    "study: 5": "study: Expected str or null. Got value: 5; write it in quotes",
    "method: grid\nparameters: {seed: {value: 1}}": "own.yaml is a sweep file, which "
    "`resnet-lab sweep own.yaml` takes",
}
VALUES = {
    "train --seed=": "--seed is empty: give a value, or leave it out",
    "train --runs-dir ''": "--runs-dir is empty: give a value, or leave it out",
    "report x --out=": "--out is empty: give a value, or leave it out",
    "claims ''": "an argument is empty: give a value, or leave it out",
    "train –seed 3": "'–seed' begins with a dash of another kind, as word processors write it: "
    "type --seed",
    "claims x —json": "'—json' begins with a dash of another kind, as word processors write it: "
    "type --json",
    "train --seed 1,2": f"seed: Expected a int. Got value: 1,2; one run has one seed, --seed N; "
    f"{SEVERAL} and call `resnet-lab sweep FILE`",
    "train --seed 1 2": f"unknown argument '2': one run has one seed, --seed N; {SEVERAL} and call "
    "`resnet-lab sweep FILE`",
    "train --network plain-8 resnet-8": "unknown argument 'resnet-8': names are joined by commas: "
    "--network plain-8,resnet-8",
    "train --recipe.lr 0,1": "recipe.lr: Expected a float. Got value: 0,1; write 0.1",
    "train --recipe.clip 0,5": "recipe.clip: Expected float or null. Got value: 0,5; write 0.5",
    "train --recipe.clip no": "recipe.clip: Expected float or null. Got value: no",
    "train --recipe.iterations 64k": "recipe.iterations: Expected a int. Got value: 64k; "
    "write 64000",
    "train --recipe.iterations 1e3": "recipe.iterations: Expected a int. Got value: 1000.0; "
    "write 1000",
    "train --recipe.iterations 64,000": "recipe.iterations: Expected a int. Got value: 64,000; "
    "write 64000",
    "train --recipe.nesterov 1": "recipe.nesterov: Expected a bool. Got value: 1; "
    "write true or false",
    "train --recipe.nesterov \"'true'\"": "recipe.nesterov: Expected a bool. Got value: true; "
    "write true or false, without quotes",
    "train --recipe.nesterov": "argument --recipe.nesterov: expected one argument, true or false",
    "train --recipe.drops 1,2": "recipe.drops: Expected a tuple. Got value: 1,2; write '[1, 2]'",
    "train --recipe.drops 1 2": "recipe.drops: Expected a tuple. Got value: 1; write '[1, 2]'",
    "train --recipe.drops [1 2]": "recipe.drops: Expected a tuple. Got value: [1; write '[1, 2]'",
    "train --recipe.drops '[1 2]'": "recipe.drops: Expected a int. Got value: 1 2; write '[1, 2]'",
    "train --wandb.tags a,b": "wandb.tags: Expected a tuple. Got value: a,b; write '[a, b]'",
    "train --recipe.precision bf16": "recipe.precision: unknown 'bf16', did you mean 'bfloat16'? "
    "(known: float32, bfloat16, auto)",
    "train --recipe.precision fp16": "recipe.precision: unknown 'fp16' "
    "(known: float32, bfloat16, auto)",
    "train --trainer.device gpu": "trainer.device: unknown 'gpu', did you mean 'cuda'? "
    "(known: auto, cpu, cuda, mps)",
    "train --trainer.devices 0,1": "trainer.devices: Expected int or all. Got value: 0,1; give the "
    "number of processes, or all; the variable CUDA_VISIBLE_DEVICES says on which GPUs",
    "train resnet-8": "unknown argument 'resnet-8', did you mean '--network resnet-8'?",
    "train experiments/digits.yaml": "unknown argument 'experiments/digits.yaml', did you mean "
    "'--config experiments/digits.yaml'?",
    "train --data.name CIFAR-100": "data: unknown name 'CIFAR-100', did you mean 'cifar100'? "
    "(known: cifar10, cifar100, digits, imagenet, imagefolder)",
    "train --data.name tiny-imagenet": "data: unknown name 'tiny-imagenet' (known: cifar10, "
    "cifar100, digits, imagenet, imagefolder); imagefolder reads any images in folders train/CLASS "
    "and val/CLASS of --data-dir, and data sets of your own are loaded by --parts FILE.py",
    "data download cifar10": "action: unknown 'download', did you mean 'prepare'? "
    "(known: prepare, verify) (see resnet-lab data --help)",
    "data cifar10": "say first what to do with cifar10: resnet-lab data prepare cifar10, or "
    "resnet-lab data verify cifar10",
    "evaluate x --batch-size 1e3": "--batch-size is '1e3', which is no whole number; write 1000 "
    "(see resnet-lab evaluate --help)",
}
PATHS = {
    "train --config typed.yml": "config: File does not exist: 'typed.yml', did you mean "
    "'typed.yaml'?",
    "train --config digits.yaml": "config: File does not exist: 'digits.yaml', did you mean "
    "'experiments/digits.yaml'?",
    "train --config experiments/cifar10_papr.yaml": "config: File does not exist: "
    "'experiments/cifar10_papr.yaml', did you mean 'experiments/cifar10_paper.yaml'?",
    "train --config a/run": "config: a/run is a folder, did you mean 'a/run/config.yaml'?",
    "sweep demo_digits": "cannot read the sweep file demo_digits: No such file or directory, did "
    "you mean 'sweeps/demo_digits.yaml'?",
    "sweep a/run": "cannot read the sweep file a/run: Is a directory; a run is trained, or "
    "continued, by `resnet-lab train --config a/run/config.yaml`",
    "sweep 'with space.yaml'": "with space.yaml is no sweep file: it has no 'parameters'; one run "
    "is trained by `resnet-lab train --config 'with space.yaml'`",
    "claims a/runn": "a/runn is no directory: give the folder that holds the runs, did you mean "
    "'a/run'?",
    "claims a/run/run.json": "a/run/run.json is no directory: give the folder that holds the runs, "
    "did you mean 'a/run'?",
}
NAMES = {
    "plot": "report",
    "eval": "evaluate",
    "run": "train",
    "TRAIN": "train",
    "tune": "sweep",
    "download": "data prepare",
    "verify": "data verify",
    "diagnose": "doctor",
    "help": "--help",
    "resnet-56": None,
    "zzz": None,
}
NETWORKS = {
    "resnet56": "did you mean 'resnet-56'?",
    "resnet_56": "did you mean 'resnet-56'?",
    "resnet56b": "did you mean 'resnet-56-B'?",
    "plainnet20": "did you mean 'plain-20'?",
    "residual-20-x0.5": "did you mean 'resnet-20-x0.5'?",
    "preresnet-110": "did you mean 'resnet-110-preact'?",
    "resnet57": "depth 57: CIFAR networks have 6n+2 layers; nearest: 56, 62",
    "plain-8 resnet-8": "which are several: give one, or a cohort joined by commas, "
    "plain-8,resnet-8.",
    "plain-8,": "an empty one: is there a comma too many?",
    **dict.fromkeys(
        ("wrn-28-10", "vgg16", "resnext50", "seresnet-50", "densenet-201", "regnet-20", "resnet"),
        "'. A name is plain-<depth> or resnet-<depth> and then options",
    ),
}


def told(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The message on a bad command line."""
    assert main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert not Path("runs").exists()
    return printed.err.removeprefix("resnet-lab: ").removesuffix("\n")


@pytest.fixture
def files() -> None:
    Path("experiments").symlink_to(ROOT / "experiments")
    Path("sweeps").symlink_to(ROOT / "sweeps")
    Path("typed.yaml").write_text("seed: 1\n")
    Path("with space.yaml").write_text("seed: 1\n")
    Path("a/run").mkdir(parents=True)
    for name in ("config.yaml", "run.json"):
        Path("a/run", name).write_text("{}")


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("lr=0.1", "--recipe.lr"),
        ("+recipe.lr=0.1", "--recipe.lr"),
        ("model=plain-8", "--network"),
        ("data=cifar10", "--data.name cifar10"),
    ],
)
def test_an_assignment_is_told_which_flag_it_is(
    argument: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = told(f"train {argument}", capsys)
    assert message == f"unknown argument '{argument}', did you mean '{meant}'?"


@pytest.mark.parametrize("line", FLAGS)
def test_an_unknown_flag_is_told_what_the_command_has_or_nothing(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = shlex.split(line)
    flag = next(one for one in rest if one.startswith("-")).split("=")[0]
    message = told(line, capsys).removesuffix(f" (see resnet-lab {command} --help)")
    known = f"unknown argument '{flag}'{FLAGS[line]}"
    assert message.startswith(known) if FLAGS[line] else message == known


@pytest.mark.parametrize("text", KEYS)
def test_an_unknown_key_of_a_file_is_told_what_there_is(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.yaml").write_text(f"{text}\n")
    assert told("train --config own.yaml", capsys) == KEYS[text]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", [*VALUES, *PATHS])
def test_a_wrong_value_or_path_is_told_what_to_write(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(line, capsys) == {**VALUES, **PATHS}[line]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_command_is_told_which_one_does_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    near = f", did you mean '{NAMES[name]}'?" if NAMES[name] else ""
    assert told(name, capsys) == f"no command '{name}'{near} (known: {', '.join(COMMANDS)})"


def test_a_flag_in_the_place_of_the_command_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told("--seed 3 train", capsys) == (
        "'--seed' is no command, which comes first: resnet-lab train --seed ..."
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_not_here_is_never_told_to_be_another(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert NETWORKS[name] in told(f"train --network '{name}'", capsys)


def test_every_word_leads_to_what_its_command_has() -> None:
    """No entry of the vocabulary names a flag of `train` that is not there, or is shadowed."""
    train_flags = Accepted.among("train", list(config_parser()._option_string_actions))
    sweep_flags = Accepted.among("sweep", list(sweep_parser()._option_string_actions))
    for accepted in (train_flags, sweep_flags):
        for text in synonyms.EXPLANATIONS[accepted.command].values():
            ours = re.findall(r"--[a-z_-]+(?:\.[a-z_]+)?(?= |$|,|;|\))", text)
            known = {*train_flags.flags, *sweep_flags.flags, "--trainer.device"}
            assert set(ours) <= known, text
    ways = {
        here: [way_out(word, None, train_flags) for word in words.split()]
        for here, words in synonyms.NAMES.items()
    }
    sections = [here for here in ways if "." in here or here in ("network", "study", "seed")]
    assert all(f"did you mean '{train_flags.key(one)}" in " ".join(ways[one]) for one in sections)
    assert not re.search("--help|print_shtab", str(ways))


def test_names_are_compared_by_their_last_parts() -> None:
    known = ["recipe.lr", "recipe.warmup_lr", "data.name", "data_dir"]
    assert nearest("recipe.lrr", known) == "recipe.lr"
    assert nearest("warmup-lr", known) == "recipe.warmup_lr"
    assert nearest("recipe.xy", known) is None
    assert nearest("data", known) is None


def test_a_path_is_compared_by_its_name_not_by_its_ending() -> None:
    Path("nested.yaml").touch()
    assert suggest_path("nofile.yaml") == ""
    assert suggest_path("nestd.yml") == ", did you mean 'nested.yaml'?"
    assert suggest_path("nowhere/at.all") == ""


def test_printed_commands_have_names_in_quotes(tmp_path: Path) -> None:
    assert prepare_command("cifar10", Path("my data")) == (
        "resnet-lab data prepare cifar10 --data-dir 'my data'"
    )


def test_the_doctors_command_for_an_interrupted_run_continues_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_step(monkeypatch, 6, interrupt)
    run = train(tiny("my runs", network=PLAIN))
    assert main(["doctor", "my runs"]) == 0
    printed = capsys.readouterr().out
    assert "0 of 1 network finished" in printed
    assert "1 of 1 network is interrupted" in printed
    (command,) = re.findall(r"continues it: resnet-lab ((?:.*\\\n)*.*)\n", printed)
    assert main(shlex.split(command.replace("\\\n", ""))) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run)
    (patient,) = examine(load_runs("my runs"))
    assert patient.finished == 1


@pytest.mark.parametrize(
    ("network", "notes"),
    [
        ("plain-20,resnet-18-stem3x3", 0),
        ("resnet-20,resnet-18", 1),
    ],
)
def test_a_network_for_large_images_is_noted_where_images_are_small(
    network: str, notes: int
) -> None:
    told = size_notes(tiny(network=network))
    assert len(told) == notes
    assert all("resnet-18 is made for images of 224 pixels" in one for one in told)
    assert all("resnet-18-stem3x3 keeps them" in one for one in told)
    assert not size_notes(tiny(network=network, data={"name": "imagenet"}))


def test_a_wrapped_command_is_still_one_command() -> None:
    command = "resnet-lab train --config 'my runs/a run/config.yaml' --recipe.drops '[1, 2]'"
    lines = wrapped(f"repeat it: {command}", 30, "  do: ", "      ")
    assert all(line.endswith("\\") for line in lines[1:-1])
    assert max(len(line) for line in lines if "'" not in line) <= 30
    given = "\n".join(lines).partition("it: ")[2].replace("\\\n", "")
    assert shlex.split(given) == shlex.split(command)
    said = "\n".join(wrapped(f"{command}  # and the other depths alike", 30, "", "  "))
    assert said.splitlines()[-2:] == ["  # and the other depths", "  # alike"]
    assert shlex.split(said.replace("\\\n", ""), comments=True) == shlex.split(command)
    assert wrapped("no command at all", 12, "", "") == ["no command", "at all"]
