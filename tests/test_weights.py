from __future__ import annotations

import hashlib
import os
import pickle
import random
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnet_lab.errors import UserError
from resnet_lab.networks import weights
from resnet_lab.networks.network import Network, build_network
from resnet_lab.networks.weights import load_weights, read_weights, save_weights

RELEASED = {"resnet-20": "resnet20-12fca82f.th", "resnet-56": "resnet56-4bfd9763.th"}


@pytest.fixture
def network() -> Network:
    return build_network("resnet-8-x0.25", num_classes=10, seed=1)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# ---- our own


def test_saved_weights_come_back(network, tmp_path):
    network(torch.randn(4, 3, 8, 8))  # so that running statistics are not the initial ones
    save_weights(network, tmp_path / "weights.pt")
    other = build_network("resnet-8-x0.25", num_classes=10, seed=2)
    assert load_weights(tmp_path / "weights.pt", other) == "resnet_lab"
    assert_same(state_of(other), state_of(network))
    assert other.get_submodule("stem.norm").num_batches_tracked == 1


def test_saving_replaces_a_file_whole_or_not_at_all(network, tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    save_weights(network, path)
    before = path.read_bytes()

    def break_off(state: Any, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(weights.torch, "save", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_weights(network, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_wrappers_prefixes_are_dropped(network, tmp_path):
    state = {f"module._orig_mod.{name}": value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "wrapped.pt")
    other = build_network("resnet-8-x0.25", num_classes=10, seed=2)
    assert load_weights(tmp_path / "wrapped.pt", other) == "resnet_lab"
    assert_same(state_of(other), state_of(network))


def test_a_file_is_a_plain_state_dict_to_pytorch(network, tmp_path):
    save_weights(network, tmp_path / "weights.pt", inputs={"mean": torch.ones(3), "data": "digits"})
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert_same(state, state_of(network))
    build_network("resnet-8-x0.25", num_classes=10, seed=2).load_state_dict(state)
    found = read_weights(tmp_path / "weights.pt")
    assert found.network == network.spec
    assert found.inputs is not None
    assert found.inputs["data"] == "digits"
    assert torch.equal(found.inputs["mean"], torch.ones(3))


SAME_TENSORS = ["plain-8-x0.25", "resnet-8-bnafter-x0.25", "resnet-8-relubefore-x0.25"]


@pytest.mark.parametrize("name", [*SAME_TENSORS, "resnet-8-relupre-x0.25"])
def test_a_network_with_the_same_tensors_does_not_take_anothers_weights(network, tmp_path, name):
    for saved, other in ((network.spec.name, name), (name, network.spec.name)):
        save_weights(build_network(saved, num_classes=10), tmp_path / "weights.pt")
        asked = build_network(other, num_classes=10, seed=2)
        before = state_of(asked)
        message = f"holds the weights of {saved}, not of {other}: give --network {saved}$"
        with pytest.raises(UserError, match=message):
            load_weights(tmp_path / "weights.pt", asked)
        assert_same(state_of(asked), before)


def test_the_place_of_a_stride_is_compared(tmp_path):
    save_weights(build_network("resnet-11-x0.25", num_classes=10), tmp_path / "weights.pt")
    asked = build_network("resnet-11-stride3x3-x0.25", num_classes=10)
    with pytest.raises(
        UserError, match=r"the weights of resnet-11-x0\.25, not of resnet-11-stride"
    ):
        load_weights(tmp_path / "weights.pt", asked)


def test_how_a_network_began_is_no_other_network(network, tmp_path):
    save_weights(network, tmp_path / "weights.pt")
    other = build_network("resnet-8-x0.25-fanout", num_classes=10)
    load_weights(tmp_path / "weights.pt", other)
    assert_same(state_of(other), state_of(network))


@pytest.mark.parametrize(
    "said",
    [
        5,
        {},
        {"description": 2},
        {"description": torch.ones(2)},
        {"description": 1},
        {"description": 1, "network": "net-5"},
        {"description": 1, "network": "plain-8", "inputs": 5},
    ],
)
def test_a_description_that_cannot_be_read_is_named(network, tmp_path, said):
    state = network.state_dict()
    state._metadata["resnet_lab"] = said
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="what it says of its network cannot be read"):
        load_weights(tmp_path / "weights.pt", network)


# ---- wrappings


def wrapped(state: dict[str, Tensor]) -> dict[str, Any]:
    def named(prefix: str) -> dict[str, Tensor]:
        return {prefix + name: tensor for name, tensor in state.items()}

    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "net": {"net": state, "acc": 91.0, "epoch": 3},
        "model": {"model": state, "optimizer": optimizer, "args": {"lr": 0.1}},
        "lightning": {"state_dict": named("model."), "optimizer_states": [optimizer], "epoch": 3},
        "compiled": {"state_dict": named("net._orig_mod.")},
        "parallel": named("module.model."),
        "both": named("_orig_mod.module."),
        "compiled inside": {
            f"head._orig_mod.{n[5:]}" if n[:4] == "head" else n: t for n, t in state.items()
        },
        "deep": {"checkpoint": {"models": {"student": state}}},
    }


@pytest.mark.parametrize("how", wrapped({}))
def test_a_state_dict_is_found_in_what_others_wrap_it_in(network, tmp_path, how):
    torch.save(wrapped(dict(network.state_dict()))[how], tmp_path / "wrapped.pt")
    other = build_network("resnet-8-x0.25", num_classes=10, seed=2)
    assert load_weights(tmp_path / "wrapped.pt", other) == "resnet_lab"
    assert_same(state_of(other), state_of(network))


def contents(network: Network) -> dict[str, Any]:
    state = dict(network.state_dict())
    sgd = torch.optim.SGD(network.parameters(), 0.1)
    return {
        r"holds the tensors of 2 networks, under model and ema: save the one": {
            "model": state,
            "ema": {name: tensor + 1 for name, tensor in state.items()},
        },
        r"it holds two tensors for head.classifier.weight$": {
            **state,
            "fc.weight": state["head.classifier.weight"],
        },
        r"holds the state of an optimizer, not of a network": sgd.state_dict(),
        r"no tensors of a network under optimizer, epoch$": {
            "optimizer": sgd.state_dict(),
            "epoch": 3,
        },
        r"no classifier named .*, but features.0.weight$": {
            "state_dict": {"features.0.weight": torch.zeros(2)},
            "epoch": 3,
        },
        r"more than plain tensors: numpy\S*\.scalar\. .* torch.save\(content\['state_dict'\]": {
            "state_dict": state,
            "best_prec1": np.float64(91.0),
        },
        r"more than plain tensors: resnet_lab\S*\. .* of a whole module content": network,
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_what_is_no_weights_file_says_how_to_make_one(network, tmp_path, legacy):
    for message, content in contents(network).items():
        path = tmp_path / "file.pt"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match=message):
            load_weights(path, network)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a weights file: it is empty"),
        (b"\x02\0\0\0\0\0\0\0{}" + bytes(4), "one of safetensors: save it anew with torch.save"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    ],
)
def test_what_is_taken_for_a_weights_file_is_named(network, tmp_path, content, message):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "file.pt", network)


# ---- torchvision's


def torchvision_network(depth: int) -> nn.Module:
    """Torchvision's with random weights and statistics, in a scale that keeps outputs near 1.

    The last norm of each block is small, or every block would add as much as all before it.
    """
    generator = torch.Generator().manual_seed(depth)
    with torch.device("meta"):
        network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    network.to_empty(device="cpu")
    last = "bn2" if depth < 50 else "bn3"
    for name, tensor in network.state_dict().items():
        scale = 4 / depth if f".{last}." in name else 1.0
        if tensor.ndim >= 2:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("weight"):
            tensor.uniform_(0.5 * scale, 1.5 * scale, generator=generator)
        else:
            tensor.normal_(0, 0.2 * scale, generator=generator)
    return network.eval()


def name_of(depth: int) -> str:
    return f"resnet-{depth}-B" if depth < 50 else f"resnet-{depth}-stride3x3"


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_torchvisions_weights_give_torchvisions_outputs(depth, tmp_path):
    theirs = torchvision_network(depth)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = build_network(name_of(depth), num_classes=1000).eval()
    assert load_weights(tmp_path / "theirs.pth", ours) == "torchvision"
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    assert 0.1 < expected.std() < 10
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert ours.get_submodule("stem.norm").num_batches_tracked == 3


@pytest.mark.parametrize(
    ("depth", "name", "reason"),
    [
        (50, "resnet-50", "whose stride is in the 3x3 convolution of a bottleneck: resnet-50 "),
        (101, "resnet-101", "whose stride is in the 3x3 convolution"),
        (18, "resnet-18-B-relubefore", "whose blocks have the order of R"),
        (50, "resnet-50-bnafter", "whose blocks have the order of R.* and whose stride is in"),
    ],
)
def test_torchvisions_weights_are_not_taken_by_a_network_that_uses_them_otherwise(
    depth, name, reason, tmp_path
):
    torch.save(torchvision_network(depth).state_dict(), tmp_path / "theirs.pth")
    ours = build_network(name, num_classes=1000)
    before = state_of(ours)
    message = f"these are torchvision's weights, .*{reason}.*; give --network {name_of(depth)}$"
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "theirs.pth", ours)
    assert_same(state_of(ours), before)


# ---- akamaster's


def akamaster_checkpoint(network: Network) -> dict[str, Any]:
    """The state of a network in akamaster's names, without counters, as DataParallel saves it."""
    state = {}
    for name, tensor in network.state_dict().items():
        path, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        parts = path.split(".")
        if parts[0].startswith("stage"):
            layer, block = parts[0].replace("stage", "layer"), int(parts[1][5:]) - 1
            inside = ".".join(parts[2:]).replace("norm", "bn")
            inside = {"shortcut.conv": "shortcut.0", "shortcut.bn": "shortcut.1"}.get(
                inside, inside
            )
            path = f"{layer}.{block}.{inside}"
        else:
            path = {"stem.conv": "conv1", "stem.norm": "bn1", "head.classifier": "linear"}[path]
        state[f"module.{path}.{kind}"] = tensor
    return {"state_dict": state, "best_prec1": 91.0}


@pytest.mark.parametrize("name", ["resnet-20-x0.25", "resnet-14-B-x0.25"])
def test_akamasters_names_are_translated(name, tmp_path):
    network = build_network(name, num_classes=10, seed=1)
    network(torch.randn(4, 3, 8, 8))
    torch.save(akamaster_checkpoint(network), tmp_path / "theirs.th")
    other = build_network(name, num_classes=10, seed=2)
    assert load_weights(tmp_path / "theirs.th", other) == "akamaster"
    found, expected = other.state_dict(), network.state_dict()
    assert found.pop("stem.norm.num_batches_tracked") == 0
    for key in found:
        assert key.endswith("num_batches_tracked") or torch.equal(found[key], expected[key])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plain-20-x0.25", "whose blocks have shortcuts"),
        ("resnet-20-relupre-x0.25", "whose blocks have the order of R"),
        (
            "plain-20-bnafter-x0.25",
            "whose blocks have shortcuts .* and whose blocks have the order",
        ),
    ],
)
def test_akamasters_weights_are_not_taken_by_a_network_that_uses_them_otherwise(
    name, reason, tmp_path
):
    theirs = build_network("resnet-20-x0.25", num_classes=10)
    torch.save(akamaster_checkpoint(theirs), tmp_path / "theirs.th")
    with pytest.raises(
        UserError, match=f"these are akamaster's weights, {reason}.* --network resnet-20-x0.25$"
    ):
        load_weights(tmp_path / "theirs.th", build_network(name, num_classes=10))


def folder(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set: the released weights and images are not here")
    return Path(os.environ[variable])


@pytest.mark.parametrize("name", RELEASED)
def test_akamasters_released_weights_load(name):
    network = build_network(name, num_classes=10)
    assert load_weights(folder("RESNET_LAB_WEIGHTS") / RELEASED[name], network) == "akamaster"


# Counted once, when all ten thousand gave the released 8.27 and 6.61 %.
@pytest.mark.parametrize(("name", "wrong"), [("resnet-20", 45), ("resnet-56", 30)])
def test_akamasters_released_weights_classify_the_first_500_test_images(name, wrong):
    file = folder("RESNET_LAB_DATA") / "cifar-10-batches-bin" / "test_batch.bin"
    network = build_network(name, num_classes=10).eval()
    load_weights(folder("RESNET_LAB_WEIGHTS") / RELEASED[name], network)
    records = torch.from_numpy(np.fromfile(file, np.uint8, 500 * 3073).reshape(500, 3073))
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    found = 0
    for part in records.split(100):
        with torch.inference_mode():
            logits = network((part[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean) / std)
        found += int((logits.argmax(1) != part[:, 0]).sum())
    assert found == wrong


# ---- weights that do not fit


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-14-x0.25", "missing: stage1.block2.conv1.weight, .* and 26 more$"),
        ("resnet-14-x0.25", "they are resnet-8-x0.25's, so give --network resnet-8-x0.25; missing"),
        (
            "resnet-8-x0.5",
            r"stem.conv.weight \(expected \(8, 3, 3, 3\) float32, found \(4, 3, 3, 3\)",
        ),
        ("resnet-8-x0.25-nonorm", "missing: stem.conv.bias, .*; unexpected: stem.norm.weight"),
        ("resnet-8-B-x0.25", "missing: stage2.block1.shortcut.conv.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(network, tmp_path, name, message):
    save_weights(network, tmp_path / "weights.pt")
    other = build_network(name, num_classes=10, seed=2)
    before = state_of(other)
    with pytest.raises(UserError, match=f"these weights do not fit {name}: .*{message}"):
        load_weights(tmp_path / "weights.pt", other)
    assert_same(state_of(other), before)


def test_another_number_of_classes_does_not_fit(network, tmp_path):
    save_weights(network, tmp_path / "weights.pt")
    other = build_network("resnet-8-x0.25", num_classes=7)
    message = r"head.classifier.weight \(expected \(7, 16\) float32, found \(10, 16\) float32\)"
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "weights.pt", other)


@pytest.mark.parametrize(
    ("saved", "asked", "told"),
    [
        ("resnet-8-x0.25", "plain-14-x0.5", "plain-8-x0.25"),
        ("resnet-14-x0.5", "resnet-8-x0.25", "resnet-14-x0.5"),
        ("resnet-8-B-x0.25", "resnet-8-x0.25", "resnet-8-B-x0.25"),
        ("resnet-8-C-x0.25", "plain-8-x0.25", "resnet-8-C-x0.25"),
        ("resnet-8-preact-x0.25", "resnet-8-x0.25", "resnet-8-preact-x0.25"),
        ("resnet-8-x0.25-groupnorm", "resnet-8-x0.25", "resnet-8-x0.25-groupnorm"),
        ("plain-8-x0.25-nonorm", "plain-8-x0.25", "plain-8-x0.25-nonorm"),
        ("resnet-11-x0.25", "resnet-8-x0.25", "resnet-11-x0.25"),
        ("resnet-18-B-x0.0625", "resnet-8-x0.25", "resnet-18-B-x0.0625"),
    ],
)
def test_tensors_tell_which_network_they_fit(tmp_path, saved, asked, told):
    state = build_network(saved, num_classes=7, in_channels=1).state_dict()
    torch.save(dict(state), tmp_path / "weights.pt")
    with pytest.raises(UserError, match=f"not fit {asked}: they fit {told}, so give --network"):
        load_weights(tmp_path / "weights.pt", build_network(asked, num_classes=10))


def test_another_number_of_classes_and_channels_is_told(network, tmp_path):
    save_weights(network, tmp_path / "weights.pt")
    other = build_network("resnet-8-x0.25", num_classes=7, in_channels=1)
    message = "their number of classes is 10, not 7 and their number of the images' channels is 3"
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "weights.pt", other)


def test_whole_numbers_are_no_weights(network, tmp_path):
    state = {**network.state_dict(), "head.classifier.bias": torch.zeros(10, dtype=torch.int64)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(
        UserError, match=r"head.classifier.bias \(expected .*float32, found .*int64"
    ):
        load_weights(tmp_path / "weights.pt", network)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a weights file: it holds a list"),
        (torch.zeros(3), "not a weights file: it holds a Tensor"),
        ({"epoch": 3, "fc.weight": torch.zeros(2)}, "not tensors: epoch"),
        ({}, "no classifier named head.classifier or fc or linear, but nothing at all"),
        ({"conv1.weight": torch.zeros(2)}, "no classifier named .*, but conv1.weight"),
    ],
)
def test_other_contents_are_no_weights(network, tmp_path, content, message):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=message):
        load_weights(tmp_path / "weights.pt", network)


# ---- damage and malice


def test_tensors_in_a_list_or_beside_another_are_named(network, tmp_path):
    path = tmp_path / "it's.pt"
    torch.save((network.state_dict(), 3), path)
    with pytest.raises(UserError, match="it holds a tuple: save its dictionary alone") as caught:
        read_weights(path)
    way = str(caught.value).partition(", as ")[2].replace("'weights.pt'", "anew")
    exec(way, {"torch": torch, "anew": tmp_path / "weights.pt"})
    assert load_weights(tmp_path / "weights.pt", network) == "resnet_lab"
    torch.save({**network.state_dict(), "epoch": torch.tensor(3)}, path)
    with pytest.raises(UserError, match=r"unexpected: epoch$"):
        load_weights(path, network)


def test_a_missing_file_is_named(network, tmp_path):
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(UserError, match=f"{path}: no such weights file"):
            load_weights(path, network)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello, I am no pickle", b"\x80\x02]q\x00."])
def test_other_files_are_no_weights(network, tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(UserError, match="not a weights file"):
        load_weights(tmp_path / "weights.pt", network)


def test_damage_anywhere_is_found_or_harmless(network, tmp_path):
    path = tmp_path / "weights.pt"
    save_weights(network, path)
    whole, expected = path.read_bytes(), state_of(network)
    chance, refused = random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            load_weights(path, network)
        except UserError:
            refused += 1
        assert_same(state_of(network), expected)
    assert refused > 75  # the rest met padding between the tensors


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(network, tmp_path, share):
    for legacy in (False, True):
        path = tmp_path / "weights.pt"
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match="not a weights file, or a damaged one"):
            load_weights(path, network)


def test_a_file_that_belies_the_checksum_in_its_name_is_refused(network, tmp_path):
    path = tmp_path / "weights.pt"
    save_weights(network, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    other = "".join("a" if digit != "a" else "b" for digit in digest)
    assert load_weights(path.rename(tmp_path / f"net-{digest}.pth"), network) == "resnet_lab"
    path = (tmp_path / f"net-{digest}.pth").rename(tmp_path / f"net-{other}.pth")
    with pytest.raises(UserError, match=f"its SHA-256 begins {digest}, expected {other}"):
        load_weights(path, network)
    assert load_weights(path.rename(tmp_path / "net-20260131.pth"), network) == "resnet_lab"


class Malice:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_that_runs_code_is_refused_unrun(network, tmp_path, how):
    path, proof = tmp_path / "weights.pt", tmp_path / "code-ran"
    content = {**network.state_dict(), "stem.conv.weight": Malice(proof)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(Malice(proof)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(UserError, match="Files whose reading would run code are refused"):
        load_weights(path, network)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Malice(proof)))
    assert proof.exists()  # so the test could have failed
