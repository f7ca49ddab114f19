"""The user's own parts: one file, and what is told of a file that can't be used."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from extending_page import examples
from registered_parts import parts_taken_back

import resnet_lab as rl
from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.parts import take_parts
from resnet_lab.cli.wandb_flags import from_wandb
from resnet_lab.configuration.config import Config
from resnet_lab.networks.network import Network
from resnet_lab.parts import files
from resnet_lab.parts.registry import additions
from resnet_lab.sweeps.sweep_file import read_sweep
from resnet_lab.yaml_json import load_yaml

FILE = """
import resnet_lab as rl
import torch
from torch import nn


@rl.part("activation", "swish", number=(0.1, 10))
class Swish(nn.Module):
    def __init__(self, channels, number):
        super().__init__()
        self.number = number
        self.shift = nn.Parameter(torch.empty(channels))

    def reset_parameters(self):
        nn.init.normal_(self.shift)

    def forward(self, x):
        return x * (self.number * (x + self.shift.view(-1, 1, 1))).sigmoid()


@rl.part("branch", "half", label="branch halved")
class Half(nn.Module):
    def forward(self, x):
        return x / 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    yield path
    files.forget_files()


def test_one_file_brings_parts_that_networks_names_and_counts_know(file: Path) -> None:
    assert rl.load_parts(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    spec = rl.NetworkSpec.parse("plain-8-swish0.50-half")
    plain, residual = (rl.build_network(one, num_classes=10) for one in (spec, spec.twin))
    assert spec.twin.name == "resnet-8-swish0.5-half"
    counted = rl.complexity(spec, num_classes=10).parameters
    assert counted == sum(one.numel() for one in plain.parameters())
    assert counted == rl.complexity(spec.twin, num_classes=10).parameters
    own = {name: one for name, one in plain.named_parameters() if name.endswith("shift")}
    assert len(own) == 7
    assert all(torch.equal(one, residual.get_parameter(name)) for name, one in own.items())
    block, x = next(residual.blocks())[2], torch.randn(2, 16, 4, 4)
    assert block.get_submodule("activation1").number == 0.5
    assert torch.equal(block.branch(x), x / 2)


def test_runs_of_a_changed_file_are_other_runs(file: Path) -> None:
    config = rl.Config(network="plain-8-half") if rl.load_parts(file) else None
    assert config is not None
    first = config.identity()
    assert first.content["code"] == {"parts.branch.half": rl.load_parts(file)[:16]}
    file.write_text(FILE.replace("x / 2", "x / 3"))
    rl.load_parts(file)
    assert rl.Config(network="plain-8-half").identity().id != first.id
    assert "code" not in rl.Config(network="plain-8").identity().content


@pytest.fixture
def arms(tmp_path: Path) -> Iterator[None]:
    """The parts of each axis in the documentation."""
    path = tmp_path / "arms.py"
    path.write_text(examples("Networks")[1])
    with parts_taken_back():
        rl.load_parts(path)
        yield


def test_a_shortcut_of_ones_own_may_gate_both_terms_and_is_counted(arms: None) -> None:
    spec = rl.NetworkSpec.parse("resnet-14-gated6-x0.5")
    network = rl.build_network(spec, num_classes=10)
    assert (spec.name, spec.twin.name) == ("resnet-14-gated6-x0.5", "plain-14-x0.5")
    assert not spec.twin_is_exact
    counted = rl.complexity(spec, num_classes=10).parameters
    assert counted == sum(one.numel() for one in network.parameters())
    plain = dict(rl.build_network(spec.twin, num_classes=10).named_parameters())
    assert all(torch.equal(network.get_parameter(name), one) for name, one in plain.items())
    for _, _, block in network.blocks():
        conv = block.get_submodule("shortcut.gate")
        assert isinstance(conv, torch.nn.Conv2d)
        assert conv.bias is not None
        assert conv.bias.eq(-6).all()
        assert conv.weight.std() > 0
        x = torch.randn(2, conv.in_channels, 8, 8)
        gate, residual = conv(x).sigmoid(), block.branch(block._through(block._residual, x))
        branch, shortcut = block.paths(x)
        assert torch.equal(branch, gate * residual)
        assert shortcut is not None
        assert torch.equal(shortcut, (1 - gate) * block.get_submodule("shortcut.identity")(x))


def test_a_random_branch_is_a_function_of_seed_and_step(arms: None) -> None:
    def shaken(steps: int, seed: int = 0) -> tuple[torch.Tensor, Network]:
        network = rl.build_network("resnet-20-x0.25-shaky0.5", num_classes=10, seed=seed)
        x = torch.ones(1)
        rows = [[float(block.branch(x)) for _, _, block in network.blocks()] for _ in range(steps)]
        return torch.tensor(rows), network

    first, network = shaken(400)
    assert torch.equal(first, shaken(400)[0])
    assert not torch.equal(first, shaken(400, seed=1)[0])
    torch.testing.assert_close((first - 1).abs(), (torch.arange(1, 10) / 18).expand(400, 9))
    torch.testing.assert_close(first.mean(0), torch.ones(9), atol=0.1, rtol=0)
    assert all(float(block.branch(torch.ones(1))) == 1 for _, _, block in network.eval().blocks())
    resumed = rl.build_network("resnet-20-x0.25-shaky0.5", num_classes=10, seed=5)
    resumed.load_state_dict(shaken(100)[1].state_dict())
    rows = [float(block.branch(torch.ones(1))) for _, _, block in resumed.train().blocks()]
    assert rows == first[100].tolist()


def test_initial_weights_are_a_function_of_place_shape_and_generator(arms: None) -> None:
    network = rl.build_network("resnet-14-zerolast-nonorm", num_classes=10)
    for number in (1, 2):
        weights = network.get_parameter(f"stage3.block2.conv{number}.weight").detach()
        expected = (2 / (64 * 9)) ** 0.5 if number == 1 else 0
        assert float(weights.std()) == pytest.approx(expected, rel=0.02)
    assert not network(torch.randn(1, 3, 8, 8)).any()
    spec = "plain-14-orthogonal"
    networks = [rl.build_network(spec, num_classes=10, seed=seed) for seed in (0, 0, 1)]
    name = "stage2.block1.conv2.weight"
    same, again, other = (one.get_parameter(name).detach() for one in networks)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    rows = same.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(32), atol=1e-5, rtol=0)
    rl.part("init", "flat")(lambda: torch.zeros(1))
    with pytest.raises(rl.UserError, match=r"init 'flat': weights of .* the shape \(1,\), not"):
        rl.build_network("plain-8-flat", num_classes=10)


def test_activations_know_the_depth_and_paddings_and_orderings_are_read(arms: None) -> None:
    for depth in (8, 20):
        network = rl.build_network(f"plain-{depth}-deepleaky", num_classes=10)
        assert network.get_submodule("stem.activation").slope == 1 - depth**-0.5
        weights = network.get_parameter("stage3.block1.conv2.weight").detach()
        gain = 2 / (1 + (1 - depth**-0.5) ** 2)
        assert float(weights.var()) == pytest.approx(gain / (64 * 9), rel=0.02)
    padded = rl.build_network("plain-8-mirrored", num_classes=10)
    conv = padded.get_submodule("stage1.block1.conv1")
    assert isinstance(conv, torch.nn.Conv2d)
    x = torch.randn(1, 16, 8, 8)
    reflected = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    assert torch.equal(conv(x), torch.nn.functional.conv2d(reflected, conv.weight))
    block = next(rl.build_network("resnet-8-normlast", num_classes=10).blocks())[2]
    assert block._residual == ("conv1", "activation1", "norm1", "conv2")
    [file] = [Path(one["path"]) for one in files.loaded_files()]
    file.write_text(file.read_text().replace('"W", "AN", "AN"', '"W", "NA", "AN"'))
    rl.load_parts(file)
    block = next(rl.build_network("resnet-8-normlast", num_classes=10).blocks())[2]
    assert block._residual == ("conv1", "norm1", "activation1", "conv2")
    with pytest.raises(rl.UserError, match="ordering 'two': give unit, between, enter and after"):
        rl.part("ordering", "two")(type("Two", (), {"unit": "WW"}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nothing_of_this_name", r"mine.py: line 1: ModuleNotFoundError: No module named"),
        ("x = 1\nraise ValueError('no')", r"mine.py: line 2: ValueError: no"),
        ("exit(3)", r"mine.py: line 1: SystemExit: 3"),
        ("def f(:", r"mine.py: .*SyntaxError"),
        ("x = 1", r"mine.py: it registers nothing; use @rl.part"),
        (FILE.replace('"half"', '"relu"'), r"mine.py: branch 'relu' \(relu\) is there already"),
        (FILE.replace('"branch"', '"brunch"'), r"mine.py: unknown axis 'brunch', did you mean 'br"),
        (FILE.replace("def forward(self, x):\n        return x / 2", "x = 1"),
         r"mine.py: branch 'half': Half has no method forward"),
        ("import resnet_lab as rl\nrl.part('norm', 'mine')(3)", r"norm 'mine': 3 is no class of t"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why_and_adds_nothing(
    content: str, message: str, file: Path
) -> None:
    before = additions()
    file.write_text(content)
    with pytest.raises(rl.UserError, match=message):
        rl.load_parts(file)
    assert additions() == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(rl.UserError, match=r"none.py: there is no such file of parts"):
        rl.load_parts(tmp_path / "none.py")


def test_the_command_line_trains_and_reports_them_and_a_changed_file_is_another_run(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.VARIABLE, "")
    flags = [*("--recipe.iterations", "2", "--recipe.drops", "[]", "--recipe.warmup_steps", "0")]
    flags += ["--data.name", "digits", "--trainer.device", "cpu", "--recording.probe_size", "8"]
    line = ["train", "--network", "plain-8-x0.25-half,resnet-8-x0.25-half", *flags]
    assert main([*line, "--parts", str(file)]) == 0
    capsys.readouterr()
    assert main([*line, f"--parts={file}"]) == 0
    assert "already finished" in capsys.readouterr().out
    [run] = rl.load_runs("runs").runs["path"].unique()
    info = json.loads((Path(run) / "run.json").read_text())
    known = {"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert info["provenance"]["parts"] == [known]
    assert main(["report", "runs", "--out", "page", "--parts", str(file)]) == 0
    assert "branch halved" in capsys.readouterr().out

    saved = ["train", "--config", f"{run}/config.yaml"]  # which has the absolute path
    assert load_yaml(Path(run, "config.yaml").read_text())["parts"] == [str(file)]
    monkeypatch.setenv(files.VARIABLE, "")
    files.forget_files()
    assert main(saved) == 0
    assert "already finished" in capsys.readouterr().out

    file.write_text(FILE.replace("x / 2", "x / 3"))
    assert main(saved) == 0
    said = capsys.readouterr()
    assert "already finished" not in said.out
    assert f"note: the parts of {run} had another content: this is another run" in said.err
    assert rl.load_runs("runs").runs["path"].nunique() == 2

    files.forget_files()
    with pytest.raises(rl.UserError, match=f"if you trust them, give --parts {file}"):
        rl.load_runs("runs")
    assert not files.loaded_files()


def test_a_configuration_names_files_beside_it_and_decides_nothing_by_their_place(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.VARIABLE, "")
    other = tmp_path / "folder" / "too.py"
    other.parent.mkdir()
    other.write_text("import resnet_lab as rl\nfrom torch import nn\n"
                     "rl.part('branch', 'same')(nn.Identity)\n")  # fmt: skip
    (tmp_path / "a.yaml").write_text("parts: [mine.py]\nnetwork: plain-8-half\n")
    (other.parent / "b.yaml").write_text("parts: [too.py, ../mine.py]\n")
    configs = [f"--config={tmp_path / 'a.yaml'}", f"--config={other.parent / 'b.yaml'}"]
    config = parse_config([*configs, "--parts", str(other)])
    assert config.parts == (str(file), str(other))
    known = config.identity()
    assert rl.Config(network="plain-8-half", parts=[file]).identity() == known  # type: ignore[arg-type]
    files.forget_files()
    assert Config.from_dict(config.as_dict()).identity() == known
    files.forget_files()
    with pytest.raises(rl.UserError, match="unknown option 'half'"):
        Config.from_stored(config.as_dict())
    for wrong, message in (("parts: mine.py", r"write \[mine.py\]"), ("parts: [3]", "parts")):
        (tmp_path / "a.yaml").write_text(wrong)
        with pytest.raises(rl.UserError, match=message):
            parse_config(configs[:1])


def test_a_sweep_names_files_beside_it_as_a_wandb_agent_hands_them_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.VARIABLE, "")
    (tmp_path / "sweep.yaml").write_text(
        "method: bayes\nmetric: {name: plain-8-half/validation_error}\nparameters:\n"
        "  parts: {value: [mine.py]}\n  network: {value: plain-8-half}\n"
        "  recipe.lr: {min: 0.1, max: 0.2}\n  data.test: {value: false}\n"
    )
    sweep = read_sweep(tmp_path / "sweep.yaml")
    assert sweep.content["parameters"]["parts"] == {"value": [str(file)]}
    files.forget_files()
    flags = next(iter(sweep.corners()))
    assert parse_config(flags).parts == (str(file),)
    files.forget_files()
    agent = from_wandb(take_parts([f"--parts={[str(file)]}", "--network=plain-8-half"]))
    assert parse_config(agent).parts == (str(file),)
    assert take_parts(["--parts=None"]) == []
    with pytest.raises(rl.UserError, match=r"--parts is \[3\]: give a list of files"):
        take_parts(["--parts=[3]"])


def test_runs_with_parts_that_are_not_loaded_say_which_flag_loads_them(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "plain-8-half"]) == 2
    assert "unknown option 'half'" in (said := capsys.readouterr().err)
    assert "--parts FILE.py" in said
    assert main(["networks", "--parts"]) == 2
    assert "--parts needs a file of Python, such as --parts mine.py" in capsys.readouterr().err


def test_other_processes_load_them_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.VARIABLE, str(file))
    code = "import resnet_lab as rl; print(rl.NetworkSpec.parse('plain-8-half').twin.name)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "resnet-8-half\n"


def test_a_notebooks_cell_may_be_run_again() -> None:
    cell = """
import torch
import resnet_lab as rl
from resnet_lab.networks.network import build_network

@rl.part("branch", "half")
class Half(torch.nn.Module):
    def forward(self, x):
        return x / {divisor}

@rl.quantity("mean_weight", at="layer")
def mean_weight(measured):
    return measured.weight.mean() / {divisor}

@rl.claim("a-claim", statement="It is {divisor}.", needs="runs")
def a_claim(group):
    return None

@rl.optimizer("mine")
def mine(parameters, recipe):
    return torch.optim.SGD(parameters, lr={divisor})

@rl.dataset("mine", validation_size={divisor})
def mine(data_dir):
    return None

branch = build_network("resnet-8-half", num_classes=2).get_submodule("stage1.block1.branch")
print(branch(torch.tensor(12.0)).item())
"""
    prompt = "".join(f"exec({cell.format(divisor=one)!r})\n" for one in (2, 3))
    other = "rl.part('branch', 'relu')(Half)\n"
    done = subprocess.run(
        [sys.executable, "-"], input=prompt + other, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["6.0", "4.0"]
    assert "branch 'relu' (relu) is there already" in done.stderr.splitlines()[-1]
