"""Models of pythae: told by their weights, held against its published equations written out by hand, and at work on every task."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from playground import Engine, Request, Settings
from playground.errors import BadWeights, NotCapable
from playground.families.capabilities import Compresses, Encodes, HasEvidence, HasMap, HasPosterior, LacksPrior, Squeezes
from playground.families.pythae import PythaeAutoencoder, PythaeModel, PythaeVAE
from playground.formats.pythae import TITLES, Pythae
from playground.latent import Noise
from playground.tasks import TASKS
from playground.tasks.base import able
from tests.public import listing, write
from tests.public_codecs import PYTHAE, pythae, pythae_state
from tests.test_conformance import BASE
from tests.tiny import TinyEngine, _card, _Seat

CPU = torch.device("cpu")
FORMAT = Pythae()
State = dict[str, Tensor]


def refusal(repo: dict[str, bytes]) -> str:
    with pytest.raises(BadWeights) as caught:
        FORMAT.recognise(listing(repo, "owner/name"))
    return str(caught.value)


def opening(repo: dict[str, bytes], folder: Path) -> str:
    with pytest.raises(BadWeights) as caught:
        FORMAT.open(write(repo, folder), "vae", CPU, torch.float32)
    return str(caught.value)


def opened(name: str, folder: Path, **changed: Any) -> PythaeModel:
    model = FORMAT.open(write(pythae(name, **changed), folder), "vae", CPU, torch.float32)
    assert isinstance(model, PythaeModel)
    return model


# -- the oracle: each network written out by hand -------------------------------------------------------------------------


def linear(state: State, name: str, h: Tensor) -> Tensor:
    return h @ state[f"{name}.weight"].T + state[f"{name}.bias"].flatten()


def conv(state: State, name: str, h: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)


def up(state: State, name: str, h: Tensor, stride: int, padding: int, more: int = 0) -> Tensor:
    return F.conv_transpose2d(h, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding, more)


def norm(state: State, name: str, h: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )  # fmt: skip
    return (h - mean) / (var + 1e-5).sqrt() * weight + bias


def blocks(state: State, name: str, h: Tensor) -> Tensor:
    for index in (0, 1):
        inner = conv(state, f"{name}.{index}.conv_block.1", F.relu(h), 1, 1)
        h = h + conv(state, f"{name}.{index}.conv_block.3", F.relu(inner), 1, 0)
    return h


def features(name: str, state: State, y: Tensor) -> Tensor:
    flat = y.flatten(1)
    if name in ("default", "default-ae", "reproduced_vae"):
        return F.relu(linear(state, "encoder.layers.0.0", flat))
    if name == "reproduced_iwae":
        return torch.tanh(linear(state, "encoder.fc2", torch.tanh(linear(state, "encoder.fc1", flat))))
    if name == "reproduced_beta_tc_vae":
        return F.relu(linear(state, "encoder.layers.0.2", F.relu(linear(state, "encoder.layers.0.0", flat))))
    if name in ("conv-mnist", "conv-cifar", "reproduced_wae"):
        for index in range(4):
            y = F.relu(norm(state, f"encoder.layers.{index}.1", conv(state, f"encoder.layers.{index}.0", y, 2, 1)))
        return y.flatten(1)
    strides = {"resnet-mnist": (2, 2, 2), "resnet-cifar": (2, 2, 1), "resnet-celeba": (2, 2, 2, 2)}[name]
    for index, stride in enumerate(strides):
        y = conv(state, f"encoder.layers.{index}.0", y, stride, 1)
    return blocks(state, f"encoder.layers.{len(strides)}", y).flatten(1)


def decoded(name: str, state: State, z: Tensor) -> Tensor:
    layer = "decoder.layers.{}".format
    if name in ("default", "default-ae", "reproduced_vae"):
        return linear(state, layer("1.0"), F.relu(linear(state, layer("0.0"), z))).sigmoid()
    if name == "reproduced_iwae":
        h = torch.tanh(linear(state, "decoder.fc2", torch.tanh(linear(state, "decoder.fc1", z))))
        return linear(state, "decoder.fc3", h).sigmoid()
    if name == "reproduced_beta_tc_vae":
        for index in (0, 2, 4):
            z = torch.tanh(linear(state, layer(index), z))
        return linear(state, layer(6), z).sigmoid()
    if name in ("conv-mnist", "conv-cifar", "reproduced_wae"):
        side, ways = {
            "conv-mnist": (4, ((2, 1, 0), (2, 1, 1), (2, 1, 1))),
            "conv-cifar": (8, ((2, 1, 0), (2, 1, 1), (1, 2, 0))),
            "reproduced_wae": (8, ((2, 2, 0), (2, 1, 0), (2, 2, 1), (1, 1, 0))),
        }[name]
        h = linear(state, layer("0.0" if name == "reproduced_wae" else "0"), z).view(len(z), -1, side, side)
        for index, way in enumerate(ways, 1):
            h = up(state, layer(f"{index}.0"), h, *way)
            h = F.relu(norm(state, layer(f"{index}.1"), h)) if index < len(ways) else h.sigmoid()
        return h
    h = linear(state, layer(0), z)
    if name == "resnet-mnist":
        h = F.relu(blocks(state, layer(2), up(state, layer(1), h.view(len(z), -1, 4, 4), 2, 1)))
        return up(state, layer("4.0"), F.relu(up(state, layer("3.0"), h, 2, 1, 1)), 2, 1, 1).sigmoid()
    if name == "resnet-cifar":
        h = blocks(state, layer(1), h.view(len(z), -1, 8, 8))
        return up(state, layer("3.0"), up(state, layer("2.0"), h, 2, 1), 2, 1).sigmoid()
    h = blocks(state, layer(2), up(state, layer(1), h.view(len(z), -1, 4, 4), 2, 1))
    h = up(state, layer("4.0"), up(state, layer("3.0"), h, 2, 1).sigmoid(), 2, 1, 1)
    return up(state, layer("5.0"), h, 2, 1).sigmoid()


@pytest.mark.parametrize("name", PYTHAE)
def test_it_computes_what_pythae_does(name: str, tmp_path: Path) -> None:
    model, state = opened(name, tmp_path), pythae_state(name)
    shape = (3, model.channels, model.image_size, model.image_size)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    h = features(name, state, (x + 1) / 2)  # pythae's pictures lie in [0, 1]
    mu = linear(state, "encoder.embedding", h)
    params = model.Params()
    torch.testing.assert_close(model.encode(x, params), mu, rtol=1e-4, atol=1e-4)
    assert mu.std(dim=0).min() > 1e-4
    if isinstance(model, PythaeVAE):
        expected = mu, linear(state, "encoder.log_var", h)
        for ours, theirs in zip(model.posterior(x), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    z = torch.randn(3, model.latent.shape[0], generator=torch.Generator().manual_seed(2))
    expected_y = decoded(name, state, z).view(shape)
    assert expected_y.std(dim=0).mean() > 1e-4
    *_, last = model.decode(z, params, Noise([0, 1, 2]))
    torch.testing.assert_close(last.x, 2 * expected_y - 1, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.through(x, params), 2 * decoded(name, state, mu).view(shape) - 1, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", PYTHAE)
def test_it_is_recognised(name: str) -> None:
    found = FORMAT.recognise(listing(pythae(name)))
    assert found is not None and found.files == ("model_config.json", "model.safetensors")
    numbers = sum(value.numel() for value in pythae_state(name).values())
    assert found.parameters == pytest.approx(numbers, rel=0.1)
    config = PYTHAE[name][0]
    assert found.family == ("vae" if "reconstruction_loss" in config else "ae")
    assert TITLES[config["name"]] in found.title and f"{config['latent_dim']} numbers" in found.title
    {"vae": PythaeVAE, "ae": PythaeAutoencoder}[found.family].Params.parse(found.defaults)


def test_its_title_says_what_it_is() -> None:
    found = FORMAT.recognise(listing(pythae("reproduced_iwae")))
    assert found is not None and found.title == "IWAE, 28×28 in grey, 50 numbers"


# -- what is refused ------------------------------------------------------------------------------------------------------


def test_a_pickle_is_refused_and_three_lines_mend_it(tmp_path: Path) -> None:
    """The lines of the message are run as they stand, on a file that torch wrote as pythae does."""
    repo = pythae("conv-mnist")
    del repo["model.safetensors"]
    message = refusal(repo)
    assert "model.pt, a pickle" in message
    lines = re.search(r"(import torch.*\))\.?$", message)
    assert lines is not None and len(lines[1].split("; ")) == 3
    folder = write(repo, tmp_path)
    torch.save({"model_state_dict": pythae_state("conv-mnist")}, folder / "model.pt")
    subprocess.run([sys.executable, "-c", lines[1]], cwd=folder, check=True)
    again = FORMAT.open(folder, "vae", CPU, torch.float32)
    assert torch.equal(again.origin(), torch.zeros(1, 16))


def test_weights_in_no_file_are_refused() -> None:
    repo = pythae("default")
    del repo["model.safetensors"], repo["model.pt"]
    assert "has no model.safetensors" in refusal(repo)


def test_other_repos_are_left_to_other_formats() -> None:
    assert FORMAT.recognise(listing({"config.json": b"{}"})) is None
    assert FORMAT.recognise(listing({"model_config.json": b'{"name": "somebody else\'s"}'})) is None
    assert FORMAT.recognise(listing({"model_config.json": b'{"name": ["VAEConfig"]}'})) is None


@pytest.mark.parametrize("kind", ["VQVAEConfig", "SVAEConfig", "VAMPConfig", "RHVAEConfig", "MAFConfig", 7, ["VAEConfig"]])
def test_kinds_with_other_networks_are_refused(kind: Any) -> None:
    assert f"of the kind {str(kind)!r}" in refusal(pythae("default", name=kind))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"latent_dim": 10**6}, "latent_dim = 1000000"),
        ({"input_dim": [10**6, 28, 28]}, "input_dim.0 = 1000000"),
        ({"input_dim": [4, 28, 28]}, "(4, 28, 28)"),
        ({"input_dim": [1, 28, 32]}, "(1, 28, 32)"),
        ({"input_dim": [785]}, "(785,)"),
        ({"input_dim": [1, 300, 300]}, "(1, 300, 300)"),
        ({"input_dim": None}, "input_dim = None"),
        ({"reconstruction_loss": "l1"}, "reconstruction_loss = 'l1'"),
    ],
)
def test_what_cannot_be_shown_is_refused(changed: dict[str, Any], words: str) -> None:
    assert words in refusal(pythae("conv-mnist", **changed))


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(["name", "input_dim", "latent_dim", "reconstruction_loss", "uses_default_encoder"]),
    value=st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(-3, 300), max_size=4), st.booleans()),
)
def test_any_configuration_is_found_or_refused_in_a_sentence(key: str, value: Any) -> None:
    repo = {
        "model_config.json": json.dumps({**PYTHAE["conv-mnist"][0], key: value}).encode(),
        "model.safetensors": b"",
        "environment.json": b"",
    }
    try:
        assert FORMAT.recognise(listing(repo)) is not None
    except BadWeights as error:
        assert str(error).count(".") >= 2


def test_weights_of_unknown_networks_are_refused(tmp_path: Path) -> None:
    state = pythae_state("reproduced_vae")
    for change, words in (
        ({name: value for name, value in state.items() if name != "encoder.log_var.bias"}, "The encoder in "),
        ({name: value for name, value in state.items() if name != "decoder.layers.1.0.bias"}, "The decoder in "),
        ({**state, "encoder.layers.1.0.weight": torch.zeros(3, 3)}, "The encoder in "),
        ({name: value for name, value in state.items() if not name.startswith("decoder.")}, "The decoder in "),
        ({**state, "discriminator.layers.0.0.weight": torch.zeros(1)}, "holds more than the network has: discriminator.layers.0.0.weight."),
        ({**state, "encoder.layers.0.0.weight": torch.zeros(())}, "The encoder in "),
    ):
        assert words in opening({**pythae("reproduced_vae"), "model.safetensors": save(change)}, tmp_path)


@pytest.mark.parametrize("width", [300, 511])
def test_an_mlp_of_a_width_that_nobody_published_is_refused(width: int, tmp_path: Path) -> None:
    """What lies between its layers cannot be seen, and is not guessed."""
    state = pythae_state("default")
    for name in ("layers.0.0.weight", "layers.0.0.bias"):
        state[f"encoder.{name}"] = state[f"encoder.{name}"][:width].clone()
    for name in ("embedding.weight", "log_var.weight"):
        state[f"encoder.{name}"] = state[f"encoder.{name}"][:, :width].clone()
    message = opening({**pythae("default"), "model.safetensors": save(state)}, tmp_path)
    assert "The encoder in " in message and "a pickle in pythae" in message


def test_another_size_than_the_configuration_says_is_refused(tmp_path: Path) -> None:
    assert "The encoder in " in opening(pythae("conv-mnist", latent_dim=17), tmp_path)
    assert "The encoder in " in opening(pythae("conv-mnist", input_dim=[1, 32, 32]), tmp_path)
    assert "The encoder in " in opening(pythae("conv-mnist", input_dim=[1, 40, 40]), tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    repo = pythae("default")
    assert "is damaged" in opening({**repo, "model.safetensors": repo["model.safetensors"][:-9]}, tmp_path)
    assert "is damaged" in opening({**repo, "model.safetensors": b"no weights"}, tmp_path)


# -- as a model -----------------------------------------------------------------------------------------------------------


class PythaeEngine(TinyEngine):
    """A tiny engine with one model more."""

    def __init__(self, model: PythaeModel) -> None:
        super().__init__(batch_size=4)
        self.one = model
        self.add(_card("pythae", model.family))

    def _load(self, card: Any) -> _Seat:
        return _Seat(self.one, "0" * 64)

    def classifier_of(self, card: str) -> Any:
        if self.one.image_size != 28:
            raise NotCapable("The classifier knows other pictures.", "Choose another tool.")
        return super().classifier_of(card)


TINY: dict[str, type[PythaeModel]] = {"tiny-vae": PythaeVAE, "tiny-ae": PythaeAutoencoder}
MODELS = (*TINY, "conv-mnist", "reproduced_wae", "default")


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PythaeModel:
    if request.param in TINY:
        made = TINY[request.param].tiny()
        assert isinstance(made, PythaeModel)
        return made
    return opened(request.param, tmp_path_factory.mktemp("pythae"))


def test_it_can_what_its_weights_can_say_and_no_more(model: PythaeModel) -> None:
    assert able(model, Encodes) and able(model, Squeezes)
    assert not any(able(model, need) for need in (Compresses, HasMap, LacksPrior, HasEvidence))
    assert able(model, HasPosterior) == (model.family == "vae")
    knobs = [spec.name for spec in model.knobs()]
    assert knobs == (["temperature", "pixels"] if model.noisy else ["temperature"])
    assert model.bytes() == sum(value.numel() * value.element_size() for value in model.network.state_dict().values())


def test_pixels_are_drawn_only_where_they_are_coins(tmp_path: Path) -> None:
    coins, numbers = opened("conv-mnist", tmp_path / "bce"), opened("conv-mnist", tmp_path / "mse", reconstruction_loss="mse")
    assert (coins.noisy, numbers.noisy) == (True, False)
    params = coins.Params.parse({"pixels": "sample"})
    z = coins.draw(params, Noise([3]))
    *_, drawn = coins.decode(z.expand(400, -1), params, Noise(range(400)))
    assert set(drawn.x.unique().tolist()) == {-1.0, 1.0}
    *_, mean = coins.decode(z, coins.Params(), Noise([3]))
    torch.testing.assert_close(drawn.x.mean(dim=0), mean.x[0], rtol=0, atol=0.25)  # five standard deviations of 400 coins
    *_, plain = numbers.decode(z, params, Noise([3]))
    torch.testing.assert_close(plain.x, mean.x)


def test_drawing_is_noise_times_temperature(model: PythaeModel) -> None:
    for prior in ("standard", "fitted"):
        z = model.draw(model.Params.parse({"temperature": 0.5, "prior": prior}), Noise([7]))
        expected = 0.5 * torch.randn(model.latent.shape, generator=torch.Generator().manual_seed(7))
        torch.testing.assert_close(z[0], expected, rtol=0, atol=0)


def test_the_same_seed_is_the_same_picture_alone_and_in_a_batch(model: PythaeModel) -> None:
    params = model.Params.parse({"pixels": "sample"} if model.noisy else {})
    *_, batch = model.decode(model.draw(params, Noise([3, 4, 5])), params, Noise([3, 4, 5]))
    *_, alone = model.decode(model.draw(params, Noise([4])), params, Noise([4]))
    assert ((batch.x[1] - alone.x[0]).abs() > 1e-5).float().mean() < 1e-3  # a coin may fall the other way when sums are rounded otherwise


def test_directions_are_those_that_the_decoder_reads_most(model: PythaeModel) -> None:
    weight = next(value for name, value in model.network.state_dict().items() if name.startswith("decoder") and value.dim() == 2)
    found = [model.direction("pc", str(index)) for index in (1, 2)]
    assert all(each is not None for each in found)
    first, second = (each[0] for each in found if each is not None)
    assert first.norm().item() == pytest.approx(1, abs=1e-5) and (first @ second).abs() < 1e-4
    largest = torch.linalg.matrix_norm(weight, ord=2)
    assert (weight @ first).norm().item() == pytest.approx(largest.item(), rel=1e-4)
    assert first[first.abs().argmax()] > 0
    assert model.direction("pc", str(model.latent.shape[0] + 1)) is None
    assert {"pc:1", "dim:1"} <= model.directions().keys()


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_tasks_run(model: PythaeModel, task: Any) -> None:
    """All that every tab has; of the other tools, those need test pictures of its own size, and say so."""
    if task.missing(model) is not None:
        assert task.name not in ("sample", "traverse", "interpolate", "reconstruct", "decode")
        return
    engine = PythaeEngine(model)
    known = {spec.name for spec in [*task.specs(), *model.Params.specs()]}
    knobs = {name: value for name, value in BASE[task.name].items() if name in known}
    try:
        sheet = engine.run(Request.build("pythae", task.name, cards=engine.cards, **knobs)).sheet
    except NotCapable as error:
        assert not task.common and model.image_size != 28, error
        return
    assert sheet.progress == 1 and len(sheet.pictures) and np.ptp(sheet.pictures) > 0


@pytest.mark.parametrize(("name", "family"), [("conv-mnist", "vae"), ("reproduced_wae", "ae")])
def test_a_folder_becomes_a_card_of_the_page(name: str, family: str, tmp_path: Path) -> None:
    folder = write(pythae(name), tmp_path / "model")
    engine = Engine(Settings(hub="off", device="cpu", lock_file=tmp_path / "lock.json"))
    card = engine.adopt(str(folder))
    assert (card.family, card.format) == (family, "pythae") and set(card.files) == {"model_config.json", "model.safetensors"}
    result = engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=2))
    side, channels = (28, 1) if name == "conv-mnist" else (64, 3)
    assert result.pictures.shape == (2, side, side, channels)
    assert not np.array_equal(result.pictures[0], result.pictures[1])
    assert result.request.params.to_plain()["temperature"] == 1.0


def test_loading_keeps_the_weights_as_they_are(tmp_path: Path) -> None:
    model = opened("reproduced_iwae", tmp_path)
    kept = load((tmp_path / "model.safetensors").read_bytes())
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, kept[name]) and not value.is_meta
