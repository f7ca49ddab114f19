from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bad_inputs import (
    ACCEPTED,
    REFUSED,
    SWEEP,
    TARGETS,
    encoded,
    opened_study,
    png,
    time_limit,
)
from hypothesis import given
from tiny_runs import PAIR, ROOT, info, tiny

from resnet_lab.cli import main
from resnet_lab.cli.parsing import parse_config
from resnet_lab.configuration.config import Config
from resnet_lab.configuration.recipe import RecipeConfig
from resnet_lab.data.image_tree import ImageTree, read_trees
from resnet_lab.data.prepare import verify
from resnet_lab.errors import UserError
from resnet_lab.networks.network import build_network
from resnet_lab.networks.weights import load_weights, save_weights
from resnet_lab.runs.frames import load_runs
from resnet_lab.runs.rows import LAYERS, METRICS
from resnet_lab.runs.stack import MOST_ROWS, read_rows
from resnet_lab.sweeps.sweep_file import read_sweep
from resnet_lab.training.train import train
from resnet_lab.yaml_json import LARGEST, DocumentError, load_json, load_yaml, read_text

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{k + 1}: &a{k + 1} [{','.join([f'*a{k}'] * 10)}]\n" for k in range(12)
)
GRID = "method: grid\nparameters:\n  "


@pytest.mark.parametrize("name", TARGETS)
def test_every_reader_refuses_in_a_message_or_reads_what_is_there(
    name: str, tmp_path: Path
) -> None:
    target = TARGETS[name]
    strategy, feed = target.make(tmp_path)

    @hypothesis.settings(
        max_examples=target.few,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @given(strategy)
    def check(value: object) -> None:
        with time_limit():
            assert feed(value) in (ACCEPTED, REFUSED)

    check()


# Documents


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "it holds more than 200,000 values"),
        ("[" * 100_000, "it is nested more than 40 levels deep"),
        ("- " * 100_000, "it is nested more than 40 levels deep"),
        ("a: &a [*a]", "the alias *a stands inside itself"),
        ("a: 1\nb: 2\na: 3", "the key 'a' is there twice"),
        ("seed: 010", "010 is a number in base 8 or 60 to YAML: write it in base 10"),
        ("seed: 1:30", "1:30 is a number in base 8 or 60 to YAML"),
        (f"seed: {10**19}", "a whole number is beyond 9,223,372,036,854,775,807"),
        ("seed: " + "9" * 5000, "Exceeds the limit"),
        ("day: 2001-01-01", "datetime.date(2001, 1, 1) is a date: write it in quotes"),
        ("a: !!python/name:os.system x", "could not determine a constructor for the tag"),
        ("x" * (LARGEST + 1), "it is longer than 4,194,304 characters"),
    ],
    ids=lambda text: text[:20],
)
def test_a_yaml_document_beyond_the_limits_says_which(text: str, reason: str) -> None:
    with time_limit(), pytest.raises(DocumentError) as refused:
        load_yaml(text)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"step": 1, "step": 2}', "the key 'step' is there twice"),
        ('{"loss": NaN}', "NaN is no number in JSON"),
        ('{"loss": 1e400}', "1e400 is no number in JSON"),
        (f"[{2**64}]", "a whole number is beyond"),
    ],
    ids=lambda text: text[:20],
)
def test_a_json_document_beyond_the_limits_says_which(text: str, reason: str) -> None:
    with pytest.raises(DocumentError) as refused:
        load_json(text)
    assert str(refused.value).startswith(reason)


def test_aliases_and_merged_keys_are_read_within_the_limits() -> None:
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }


def test_what_is_no_regular_file_is_not_waited_for() -> None:
    os.mkfifo("pipe.yaml")
    for path in ("pipe.yaml", "/dev/zero"):
        with time_limit(), pytest.raises(DocumentError, match="it is a device, not a file"):
            read_text(Path(path))
    Path("large.yaml").write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(DocumentError, match="it is larger than 4,194,304 bytes"):
        read_text(Path("large.yaml"))
    with pytest.raises(DocumentError, match="null byte"):
        read_text(Path("a\0b"))


# The command line

WIDE = 90 * "\u6df1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "Problems parsing config: it holds more than 200,000 values (reading c.yaml)"),
        ("5", "c.yaml is no configuration: give keys with values, such as network: plain-20"),
        ("", "c.yaml is no configuration: give keys with values, such as network: plain-20"),
        ("\xff", "c.yaml is no configuration: give keys with values, such as network: plain-20"),
        ("config: c.yaml", "c.yaml has the key 'config': name each file by a --config of its own"),
        ("data: 5", "data is 5: give its keys, such as data.name"),
        ("network: null", "network is null: give a value, or leave it out"),
        ("recipe: {lr: null}", "recipe.lr is null: give a value, or leave it out"),
        ("trainer: {checkpoint_seconds: .nan}", "trainer.checkpoint_seconds is nan: give a "),
        ("recipe: {iterations: 1000000000000}", "recipe.iterations is 1000000000000: give 1,000,"),
        ("seed: 9223372036854775808", "Problems parsing config: a whole number is beyond 9,223,"),
        ('study: "a\\0b"', "study is 'a\\x00b': give a plain folder name, without '/'"),
        (
            "study: " + "x" * 200,
            f"study is '{'x' * 200}': give a plain folder name of at most 99 characters; this one "
            "has 200",
        ),
        (
            f"study: {WIDE}",
            f"study is '{WIDE}': give a plain folder name of at most 255 bytes; this one has 270",
        ),
        (
            "recipe.lr: 0.1\nrecipe: {lr: 0.2}",
            "c.yaml has the key 'recipe.lr' twice, as 'recipe.lr' and as 'lr' in 'recipe': leave "
            "one of them out",
        ),
        ('runs_dir: "a\\0b"', "runs_dir is 'a\\x00b': no path holds a NUL character"),
        ("network: plain-99998", "depth 99998: networks here have 10,000 layers at most"),
    ],
    ids=lambda text: text[:20],
)
def test_a_configuration_file_is_refused_in_one_line(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text(text)
    with time_limit():
        assert main(["train", "--config=c.yaml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1


def test_a_file_that_is_no_configuration_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    Path("passwords").write_text("root:secret:0\n")
    assert main(["train", "--config", "passwords"]) == 2
    assert "secret" not in capsys.readouterr().err


def test_a_number_means_the_same_in_a_file_and_as_a_flag() -> None:
    Path("c.yaml").write_text("recipe: {lr: 1e-2}\nseed: 10\n")
    assert parse_config(["--config=c.yaml"]) == parse_config(["--recipe.lr=1e-2", "--seed=010"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe.lr=" + "9" * 400], "a number is out of range: int too large"),
        (["train", f"--seed={2**63}"], "a whole number is beyond 9,223,372,036,854,775,807"),
        (["train", "--rec.lr=1"], "unknown argument '--rec.lr', did you mean '--recipe.lr'?"),
        (["networks", "a\0"], "an argument holds a NUL character, which no name or value has"),
        (["networks", "plain-20", "--num-classes", "9" * 99], f"num_classes {'9' * 99}: it must"),
        (["networks", "\x1b[2J\u202e"], r"unknown network '\x1b[2J\u202e'"),
        (["networks", "\udcff"], r"unknown network '\udcff'"),
        (["sweep", "x.yaml", "--workers", "9" * 30], f"--workers is {'9' * 30}: give 1,000 or"),
        (["report", "x" * 5000], f"cannot use {'x' * 900}"),
    ],
    ids=lambda given: str(given)[:30],
)
def test_a_flag_is_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"resnet-lab: {message}")
    assert told.count("\n") == 1
    assert len(told) < 2100


def test_names_that_a_terminal_would_obey_are_printed_as_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train(tiny(iterations=4))
    shutil.copytree(run, run.with_name("\x1b]0;title\x07"))
    assert main(["doctor", "runs"]) == 0
    printed = capsys.readouterr().out
    assert r"  runs/\x1b]0;title\x07: the same run as" in printed
    assert "\x1b" not in printed


def test_a_terminal_that_lacks_a_character_gets_its_escape() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "resnet_lab", "networks", "plän-20"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(r"resnet-lab: unknown network 'pl\xe4n-20', did you mean ")


# Sweeps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{GRID}seed: {{min: 0, max: 1000000000000}}",
            ": it is a grid of 1,000,000,000,001 runs: 10,0",
        ),
        (f"{GRID}seed: &a {{parameters: *a}}", "is no YAML: the alias *a stands inside itself"),
        (f"{GRID}seed: {{value: 1}}\n  seed: {{value: 2}}", "is no YAML: the key 'seed' is there"),
        (f"{GRID}--seed: {{value: 1}}", ": parameter '--seed': give the name of a flag, such as"),
        (
            f"{GRID}seed: {{value: 1, distribution: []}}",
            ": parameter 'seed': unknown distribution ",
        ),
        (
            f"{GRID}recipe.lr: {{distribution: q_uniform, min: 0, max: 1, q: 1.0e-320}}",
            ": parameter 'recipe.lr': uniform with 0, 1 and q 1e-320 goes beyond the largest",
        ),
        (
            f"{GRID}recipe.lr: {{distribution: log_normal, mu: 1000, sigma: 1}}",
            ": parameter 'recipe.lr': log_normal with 1000, 1 and q None goes beyond the largest",
        ),
        (
            f"{GRID}recipe.lr: {{distribution: log_uniform, min: -800, max: 0}}",
            ": parameter 'recipe.lr': e to the power of -800 is no number",
        ),
        (f"run_cap: 1000000000\n{GRID}seed: {{value: 1}}", ": run_cap is 1000000000: give a whole"),
        (
            f"metric: {{name: validation_error, target: .nan}}\n{GRID}seed: {{value: 1}}",
            ": target is nan: give a number, or leave it out",
        ),
    ],
    ids=lambda text: text[:60],
)
def test_a_sweep_file_is_refused_before_it_can_take_for_ever(text: str, message: str) -> None:
    Path("s.yaml").write_text(text)
    with time_limit(), pytest.raises(UserError) as refused:
        read_sweep(Path("s.yaml"))
    assert str(refused.value).removeprefix("s.yaml").lstrip().startswith(message.lstrip())


def test_a_bracket_of_any_number_of_rungs_is_reckoned_at_once() -> None:
    early = {"type": "hyperband", "max_iter": 100, "s": 10**9, "eta": 10}
    Path("s.yaml").write_text(json.dumps({**SWEEP, "early_terminate": early}))
    with time_limit(), pytest.raises(UserError, match="max_iter 100 cannot be divided 1000000000 "):
        read_sweep(Path("s.yaml"))


def test_a_grid_may_be_endless_where_a_cap_ends_it() -> None:
    Path("s.yaml").write_text(f"run_cap: 3\n{GRID}seed: {{min: 0, max: 1000000000000}}")
    with time_limit():
        points = list(read_sweep(Path("s.yaml")).points())
    assert points == [["--seed=0"], ["--seed=1"], ["--seed=2"]]


def test_a_journal_whose_last_line_was_cut_off_goes_on() -> None:
    opened_study(Path()).fill([])
    whole = Path("study.journal").read_bytes()
    Path("study.journal").write_bytes(whole + b'{"op_code":4,"worker')
    opened_study(Path()).study.set_user_attr("later", 1)
    later = Path("study.journal").read_bytes()
    assert later.startswith(whole)
    assert all(json.loads(line)["worker_id"] for line in later.splitlines())
    assert opened_study(Path()).study.user_attrs["later"] == 1


@pytest.mark.parametrize("content", [b"notes", b'{"op_code":0}\n', b'{"op_code":\n{}\n'])
def test_what_is_no_journal_is_refused_and_left_as_it_is(content: bytes) -> None:
    Path("study.journal").write_bytes(content)
    with pytest.raises(UserError, match=r"study\.journal is damaged, or no journal"):
        opened_study(Path())
    assert Path("study.journal").read_bytes() == content


# Run directories


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(tmp_path_factory.mktemp("runs"), iterations=4))


@pytest.fixture
def run(finished: Path) -> Path:
    """A copy of a run beside another that is sound."""
    shutil.copytree(finished, Path("runs/sound"))
    return Path(shutil.copytree(finished, Path("runs/broken")))


def reason(run: Path) -> str:
    """Why a run is left out, which the other one is not."""
    loaded = load_runs("runs")
    assert loaded.runs["path"].tolist() == ["runs/sound"] * 2
    [(path, told)] = loaded.skipped
    assert path == str(run)
    return told


def edit_config(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))


def test_a_digit_that_changed_in_a_configuration_is_seen(run: Path) -> None:
    edit_config(run, "lr: 0.1\n", "lr: 0.9\n")
    assert reason(run).startswith("config.yaml is that of run ")


def test_a_truth_value_is_no_number(run: Path) -> None:
    edit_config(run, "ghost_batch: 0", "ghost_batch: false")
    assert reason(run) == (
        "config.yaml cannot be read: recipe.ghost_batch is False: give a whole number"
    )


def test_a_table_without_a_column_is_named(run: Path) -> None:
    table = pq.read_table(run / "metrics.parquet").drop_columns(["network"])
    pq.write_table(table, run / "metrics.parquet")
    assert reason(run).startswith("metrics.parquet ")


def test_what_determines_no_result_may_differ(run: Path) -> None:
    edit_config(run, "checkpoint_seconds: 300.0", "checkpoint_seconds: 5.0")
    assert "the same run as" in reason(run)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("step",), "4", "step is '4', not a whole number, 0 or more"),
        (("status",), "done", "status is 'done', not one of running, finished"),
        (("seed",), 3, "seed is 3, not 0"),
        (("networks",), [], "networks is [], not a list"),
        (("networks", 0, "network"), "plain-20", "networks.0.network is 'plain-20', not 'plain-8-"),
        (("networks", 0, "depth"), 20, "networks.0.depth is 20, not 8"),
        (("networks", 1, "final"), None, "networks.1.final is None, not a group of values"),
        (
            ("networks", 1, "final", "test_error"),
            True,
            "networks.1.final.test_error is True, not a",
        ),
        (("networks", 1, "final", "test_error"), 101, "networks.1.final.test_error is 101, not a"),
        (("networks", 1, "final", "test_loss"), "1", "networks.1.final.test_loss is '1', not a"),
        (("data", "protocol"), ["45k"], "data.protocol is ['45k'], not a text"),
        (("data", "normalise"), "channel", "data.normalise is 'channel', not 'pixel-mean'"),
        (("provenance", "wall_seconds"), -1, "provenance.wall_seconds is -1, not a number"),
    ],
)
def test_a_value_of_another_type_or_of_another_run_is_named(
    run: Path, place: tuple[str | int, ...], value: object, message: str
) -> None:
    contents = holder = info(run)
    for step in place[:-1]:
        holder = holder[step]  # type: ignore[index]
    holder[place[-1]] = value  # type: ignore[index]
    (run / "run.json").write_text(json.dumps(contents))
    assert reason(run).startswith(message)


def test_rows_that_lie_about_their_number_are_refused(run: Path) -> None:
    file = run / "metrics.parquet"
    count = pq.read_metadata(file).num_rows
    zeros = pa.array(np.zeros(MOST_ROWS + 1), pa.float64())
    bomb = pa.table(dict.fromkeys(METRICS.names, zeros))
    pq.write_table(bomb, file, compression="zstd")
    assert file.stat().st_size < 10**6
    assert f"{MOST_ROWS + 1:,} rows of" in reason(run)
    assert "are more than any run has" in reason(run)
    assert count > 0


@pytest.mark.parametrize("place", [-1, 40_000])
def test_a_layer_that_no_network_has_is_refused(place: int) -> None:
    rows = {field.name: ["x" if field.type == pa.string() else 1] for field in LAYERS}
    pq.write_table(pa.table({**rows, "layer": [place]}, schema=LAYERS), "layers.parquet")
    with pytest.raises(UserError, match=f"layers.parquet has {place} in column layer"):
        read_rows(Path("layers.parquet"), LAYERS)


def test_a_pipe_in_a_run_directory_is_not_waited_for(run: Path) -> None:
    for name in ("metrics.parquet", "run.json"):
        (run / name).unlink()
        os.mkfifo(run / name)
        with time_limit():
            assert name in reason(run)


# Weights


def test_compressed_and_overlapping_weights_are_not_unpacked() -> None:
    import zipfile

    network = build_network("plain-8-x0.25", num_classes=10)
    with zipfile.ZipFile("bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data/0", b"\0" * 10**7)
    with pytest.raises(UserError, match=r"bomb.pt: not a weights file, or a damaged one"):
        load_weights("bomb.pt", network)


def test_weights_without_values_do_not_fit() -> None:
    network = build_network("plain-8-x0.25", num_classes=10)
    state = {**network.state_dict(), "stem.conv.weight": torch.empty(4, 3, 3, 3, device="meta")}
    torch.save(state, "meta.pt")
    with pytest.raises(UserError, match=r"do not fit plain-8-x0\.25: different: stem\.conv"):
        load_weights("meta.pt", network)


def test_weights_whose_outputs_are_no_numbers_have_no_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = build_network("plain-8-x0.25", num_classes=10, in_channels=1)
    torch.nn.init.constant_(network.stem.conv.weight, float("nan"))
    save_weights(network, "nan.pt")
    command = ["evaluate", "nan.pt", "--network=plain-8-x0.25", "--data=digits", "--device=cpu"]
    assert main(command) == 2
    assert "puts out values that are not finite: it has no error" in capsys.readouterr().err


def test_weights_in_a_damaged_run_are_not_measured_with_other_data(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run / "weights" / f"{PAIR[0]}.pt"
    command = ["evaluate", str(weights), f"--network={PAIR[0]}", "--data=digits", "--device=cpu"]
    for old, new in (("normalise: pixel-mean", "normalise: 5"), ("data:", "data: 5\nother:")):
        text = (run / "config.yaml").read_text()
        edit_config(run, old, new)
        assert main(command) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"resnet-lab: the configuration of the run that {weights} lies in: ")
        (run / "config.yaml").write_text(text)
    assert main(command) == 0


# Images


def tree_of(content: bytes) -> ImageTree:
    Path("image.png").write_bytes(content)
    return ImageTree(Path(), ("a",), ("image.png",), (0,))


GREY = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(60_000, 60_000, b""), "could be decompression bomb"),
        (png(9_000, 9_950, b""), "9000 x 9950 pixels are more than 89,478,485"),
        (png(1, 101, b""), "1 x 101 pixels: one side is more than 100 times the other"),
        (encoded(GREY, "PNG"), "its mode I;16 has more than 8 bits a channel"),
        (encoded(GREY.astype(np.float32), "TIFF"), "its mode F has more than 8 bits a channel"),
        (encoded(np.zeros((8, 8, 3), np.uint8), "EPS"), "cannot identify image file"),
        (encoded(np.zeros((8, 8, 3), np.uint8), "GIF"), "cannot identify image file"),
        (b"", "cannot identify image file"),
    ],
    ids=["bomb", "large", "slender", "16 bits", "float", "program", "other", "empty"],
)
def test_an_image_that_is_not_to_be_decoded_is_named(content: bytes, reason: str) -> None:
    tree = tree_of(content)
    with pytest.raises(UserError) as refused:
        tree.read(0)
    assert str(refused.value).startswith("data: image.png is not a readable image (")
    assert reason in str(refused.value)
    with pytest.raises(UserError, match=r"1 of 1 files in \. are no images: image\.png"):
        tree.check_headers()


def test_images_are_read_as_before() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    for channels in (slice(3), slice(4)):
        read = tree_of(encoded(pixels[:, :, channels], "PNG")).read(0)
        assert torch.equal(read, torch.from_numpy(pixels[:, :, :3]).permute(2, 0, 1))
    grey = tree_of(encoded(pixels[:, :, 0], "PNG")).read(0)
    assert torch.equal(grey, torch.from_numpy(pixels[:, :, 0]).expand(3, -1, -1))


@pytest.fixture
def folder() -> Path:
    for part in ("train", "val"):
        place = Path("images") / part / "a"
        place.mkdir(parents=True)
        (place / "0.png").write_bytes(encoded(np.zeros((4, 4, 3), np.uint8), "PNG"))
    return Path("images")


def test_files_that_are_no_images_by_their_names_are_counted_and_named(folder: Path) -> None:
    for name in ("notes.txt", ".DS_Store"):
        (folder / "train/a" / name).write_text("")
    assert verify("imagefolder", folder)[0] == (
        "imagefolder: 1 images of 1 classes in images/train: every file is an image; 2 others are "
        "left out: images/train/a/.DS_Store, images/train/a/notes.txt"
    )


def test_a_link_that_would_count_images_twice_is_refused(folder: Path) -> None:
    for name in ("one", "two"):  # followed to the end they would be 2^40 folders
        (folder / "train/a" / name).symlink_to(".")
    with (
        time_limit(),
        pytest.raises(UserError, match=r"/a/(one|two) is a link to images/train/a, "),
    ):
        read_trees("imagefolder", folder)


def test_links_to_folders_elsewhere_are_followed(folder: Path) -> None:
    (folder / "train/a").rename("elsewhere")
    (folder / "train/a").symlink_to(Path("elsewhere").resolve())
    assert read_trees("imagefolder", folder)[0].paths == ("images/train/a/0.png",)


def test_a_pipe_among_images_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "train/a/1.png")
    with time_limit(), pytest.raises(UserError, match="1 of 2 files in images/train are no images"):
        verify("imagefolder", folder)


# The tally


@pytest.mark.slow
def test_the_command_counts_inputs_and_crashes() -> None:
    script = ROOT / "benchmarks" / "bad_input.py"
    result = subprocess.run(
        [sys.executable, str(script), "--only=network names", "--share=0.005", "--out=tally"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    tally = json.loads(Path("tally/bad_input.json").read_text())
    [(name, one)] = tally["targets"].items()
    assert name == "network names"
    assert one["accepted"] + one["refused"] == one["inputs"] == tally["inputs"] == 100
    assert tally["crashes"] == one["crashes"] == 0
    assert result.stdout.splitlines()[-1] == "100 inputs, 0 crashes"


def test_limits_leave_room_for_what_the_papers_train() -> None:
    assert Config(network="resnet-1202").specs()[0].depth == 1202
    assert RecipeConfig(iterations=600_000).iterations == 600_000
