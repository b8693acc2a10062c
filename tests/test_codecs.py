"""Autoencoders of diffusers: recognised, opened, and held against diffusers' own classes; and at work as models of the family `ae`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from playground import Engine, Request, Settings
from playground.engine import _Visit
from playground.errors import BadWeights, NotCapable
from playground.families.capabilities import Compresses, Encodes, HasMap, HasPosterior, LacksPrior, Squeezes
from playground.families.picture_codec import LIVE_WORK, Codec, PictureCodec
from playground.formats.codecs import DiffusersAutoencoder, open_codec, recognise_codec
from playground.formats.networks import modern_name
from playground.latent import Latent, Noise
from playground.tasks import TASKS, Bench
from playground.tasks.base import able
from tests.public import listing, write
from tests.public_codecs import CODECS, OLD, WEIGHTS, codec
from tests.test_conformance import BASE
from tests.tiny import TinyEngine, _card, _Seat

CPU = torch.device("cpu")
FORMAT = DiffusersAutoencoder()


def picture(side: int, seed: int = 0, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def refusal(repo: dict[str, bytes]) -> str:
    with pytest.raises(BadWeights) as caught:
        FORMAT.recognise(listing(repo, "owner/name"))
    return str(caught.value)


def opening(repo: dict[str, bytes], folder: Path) -> str:
    with pytest.raises(BadWeights) as caught:
        open_codec(write(repo, folder), CPU, torch.float32)
    return str(caught.value)


# -- the oracle: diffusers itself -----------------------------------------------------------------------------------------


def theirs(folder: Path, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled latents of `x`, and pictures of scaled latents `z`, as diffusers' pipelines compute them."""
    kind = getattr(diffusers, json.loads((folder / "config.json").read_text())["_class_name"])
    network = kind.from_pretrained(folder, low_cpu_mem_usage=False).eval()
    config, shape = network.config, (1, -1, 1, 1)
    with torch.no_grad():
        answer = network.encode(x)
        raw = answer.latent_dist.mean if hasattr(answer, "latent_dist") else answer.latent if hasattr(answer, "latent") else answer.latents
        if config.get("latents_mean") is not None:
            mean, std = torch.tensor(config["latents_mean"]).view(shape), torch.tensor(config["latents_std"]).view(shape)
            return (raw - mean) * config.scaling_factor / std, network.decode(z * std / config.scaling_factor + mean).sample
        shift = config.get("shift_factor") or 0.0
        return (raw - shift) * config.scaling_factor, network.decode(z / config.scaling_factor + shift).sample


@pytest.mark.parametrize("name", CODECS)
def test_it_encodes_and_decodes_as_diffusers_does(name: str, tmp_path: Path) -> None:
    folder = write(codec(name), tmp_path)
    ours = open_codec(folder, CPU, torch.float32)
    x = picture(4 * ours.factor)
    z = torch.randn(2, ours.channels, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        encoded, decoded = ours.encode(x), ours.decode(z)
    latents, pictures = theirs(folder, x, z)
    assert encoded.shape == (2, ours.channels, 4, 4) and decoded.shape == x.shape
    assert latents.std() > 1e-3 and pictures.std(dim=(2, 3)).min() > 1e-3  # there is something to compare
    torch.testing.assert_close(encoded, latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded, pictures, rtol=1e-4, atol=1e-5)


def test_a_codebook_rounds_latents_on_the_way_to_pixels(tmp_path: Path) -> None:
    """Two latents nearest to the same vectors give the same picture."""
    ours = open_codec(write(codec("CompVis/ldm-celebahq-256"), tmp_path), CPU, torch.float32)
    table = ours.network.quantize.embedding.weight.detach()  # type: ignore[union-attr]
    z = (table[torch.arange(16)].T.reshape(1, 3, 4, 4) - ours.shift) * ours.scale
    with torch.inference_mode():
        pictures = [ours.decode(z + change) for change in (0, 1e-5 * torch.randn_like(z), 2.0)]
    torch.testing.assert_close(pictures[0], pictures[1], rtol=0, atol=0)
    assert not torch.equal(pictures[0], pictures[2])


def test_a_codebook_may_be_narrower_than_the_network(tmp_path: Path) -> None:
    ours = open_codec(write(codec("CompVis/ldm-celebahq-256", vq_embed_dim=2), tmp_path), CPU, torch.float32)
    assert ours.channels == 2 and ours.encode(picture(16)).shape == (2, 2, 4, 4)
    latents, pictures = theirs(tmp_path, picture(16), torch.ones(1, 2, 4, 4))
    torch.testing.assert_close(ours.encode(picture(16)), latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.decode(torch.ones(1, 2, 4, 4)), pictures, rtol=1e-4, atol=1e-5)


def test_half_precision_is_left_where_the_configuration_asks(tmp_path: Path) -> None:
    folder = write(codec("stabilityai/sdxl-vae"), tmp_path / "kl")
    assert open_codec(folder, CPU, torch.float16).dtype == torch.float32
    assert open_codec(folder, CPU, torch.bfloat16).dtype == torch.bfloat16
    folder = write(codec("madebyollin/taesd"), tmp_path / "tiny")
    assert open_codec(folder, CPU, torch.float16).dtype == torch.float16


def test_half_precision_files_are_found(tmp_path: Path) -> None:
    repo = codec("madebyollin/taesd", "vae/")
    full = load(repo.pop(f"vae/{WEIGHTS}"))
    repo["vae/diffusion_pytorch_model.fp16.safetensors"] = save({name: value.half() for name, value in full.items()})
    found = recognise_codec(listing(repo), "vae/")
    assert found.files == ("vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors")
    opened = open_codec(write(repo, tmp_path) / "vae", CPU, torch.float32)
    name, value = next(iter(opened.network.state_dict().items()))
    torch.testing.assert_close(value, full[name].half().float(), rtol=0, atol=0)


# -- recognising ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_public_autoencoders_are_recognised(name: str) -> None:
    found = recognise_codec(listing(codec(name, "vae/")), "vae/")
    config = CODECS[name]
    assert found.files == ("vae/config.json", f"vae/{WEIGHTS}")
    assert found.kind == config["_class_name"] and found.sample_size == config.get("sample_size")
    assert found.parameters == sum(value.numel() for value in load(codec(name)[WEIGHTS]).values() if value.dim()) - buffers(name)
    assert found.channels == config.get("vq_embed_dim", config["latent_channels"])
    assert found.factor == {"AutoencoderDC": 4, "VQModel": 4}.get(found.kind, 8)


def buffers(name: str) -> int:
    """Numbers in the file that no training moves by its slope: what batch norms keep."""
    return sum(value.numel() for key, value in load(codec(name)[WEIGHTS]).items() if "running_" in key)


def test_the_format_says_what_it_found() -> None:
    found = FORMAT.recognise(listing(codec("madebyollin/taesd")))
    assert found is not None and (found.format, found.family) == ("diffusers-autoencoder", "ae")
    assert found.title == "AutoencoderTiny, 8× smaller, 4 channels"
    assert not any(name.endswith(".bin") for name in found.files)
    PictureCodec.Params.parse(found.defaults)


def test_other_repos_are_left_to_other_formats() -> None:
    assert FORMAT.recognise(listing({"README.md": b""})) is None
    assert FORMAT.recognise(listing({"config.json": b'{"_class_name": "UNet2DModel"}'})) is None
    assert FORMAT.recognise(listing({"config.json": b'{"_class_name": ["AutoencoderKL"]}'})) is None
    assert FORMAT.recognise(listing({"config.json": b'{"family": "ae"}'})) is None


@pytest.mark.parametrize("name", ["stabilityai/sd-vae-ft-mse", "madebyollin/taesd", "mit-han-lab/dc-ae-f32c32-in-1.0-diffusers"])
def test_a_million_channels_are_refused_with_the_number(name: str) -> None:
    key = next(key for key in CODECS[name] if key.endswith("block_out_channels"))
    repo = codec(name)
    repo["config.json"] = json.dumps({**CODECS[name], key: [10**6] * 3}).encode()
    assert f"{key}.0 = 1000000" in refusal(repo)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"latent_channels": 10**6}, "latent_channels = 1000000"),
        ({"layers_per_block": 1000}, "layers_per_block = 1000"),
        ({"in_channels": 4}, "in_channels = 4"),
        ({"in_channels": 1}, "takes pictures of 1 channels and gives 3"),
        ({"scaling_factor": 0}, "scaling_factor = 0"),
        ({"scaling_factor": float("nan")}, "scaling_factor = nan"),
        ({"down_block_types": ["os.system"] * 4}, "down_block_types.0 = 'os.system'"),
        ({"block_out_channels": [8, 15, 16, 16]}, "do not fit (num_channels"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 3}, "do not fit"),
        ({"latents_mean": [0.0], "latents_std": [1.0, 2.0]}, "one mean and one spread for each of 4 channels"),
        (
            {"block_out_channels": [2048] * 8, "layers_per_block": 8, "norm_num_groups": 32, "down_block_types": ["DownEncoderBlock2D"] * 8}
            | {"up_block_types": ["UpDecoderBlock2D"] * 8},
            "11,133,800,551 parameters",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_built(changed: dict[str, Any], words: str) -> None:
    repo = codec("stabilityai/sd-vae-ft-mse")
    repo["config.json"] = json.dumps({**CODECS["stabilityai/sd-vae-ft-mse"], **changed}).encode()
    assert words in refusal(repo)


def test_a_network_whose_halves_do_not_meet_is_refused() -> None:
    repo = codec("madebyollin/taesd")
    config = {**CODECS["madebyollin/taesd"], "decoder_block_out_channels": [8, 8, 8], "num_decoder_blocks": [1, 1, 1]}
    assert "pictures (3, 8, 8)" in refusal({**repo, "config.json": json.dumps(config).encode()})


@settings(max_examples=40, deadline=None)
@given(
    key=st.sampled_from(sorted(key for key in CODECS["stabilityai/sd-vae-ft-mse"] if key != "_class_name")),
    value=st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(-3, 5), max_size=5), st.booleans()),
)
def test_any_configuration_is_found_or_refused_in_a_sentence(key: str, value: Any) -> None:
    repo = {"config.json": json.dumps({**CODECS["stabilityai/sd-vae-ft-mse"], key: value}).encode(), WEIGHTS: b""}
    try:
        found = FORMAT.recognise(listing(repo))
        assert found is not None and 0 < found.parameters <= 2_000_000_000
    except BadWeights as error:
        assert str(error).count(".") >= 2


def test_a_pickle_alone_is_refused_by_name() -> None:
    repo = codec("stabilityai/sd-vae-ft-mse")
    del repo[WEIGHTS]
    assert "diffusion_pytorch_model.bin, a pickle" in refusal(repo)


# -- opening --------------------------------------------------------------------------------------------------------------


def test_weights_that_lack_something_are_refused(tmp_path: Path) -> None:
    repo = codec("madebyollin/taesd")
    state = load(repo[WEIGHTS])
    first, second, *_ = sorted(state)
    for change, words in (
        ({name: value for name, value in state.items() if name != first}, f"lacks {first}."),
        ({name: value for name, value in state.items() if name not in (first, second)}, f"lacks {first} and 1 others."),
        ({**state, "backdoor.weight": torch.zeros(1)}, "holds more than the network has: backdoor.weight."),
        ({**state, first: state[first][:-1].clone()}, f"{first} in "),
    ):
        assert words in opening({**repo, WEIGHTS: save(change)}, tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    repo = codec("madebyollin/taesd")
    assert "is damaged" in opening({**repo, WEIGHTS: repo[WEIGHTS][:-9]}, tmp_path)
    with pytest.raises(BadWeights, match=r"has no config\.json"):
        open_codec(tmp_path / "nowhere", CPU, torch.float32)


def test_old_names_of_attention_are_known() -> None:
    assert modern_name("encoder.mid_block.attentions.0.query.weight") == "encoder.mid_block.attentions.0.to_q.weight"
    assert modern_name("decoder.mid_block.attentions.0.proj_attn.bias") == "decoder.mid_block.attentions.0.to_out.0.bias"
    assert modern_name("encoder.key_conv.weight") == "encoder.key_conv.weight"
    for name in OLD:
        assert any(".proj_attn." in key for key in load(codec(name)[WEIGHTS]))


def test_nothing_is_left_without_numbers(tmp_path: Path) -> None:
    """Batch norms count in integers, which no precision changes."""
    network = open_codec(write(codec("mit-han-lab/dc-ae-f32c32-in-1.0-diffusers"), tmp_path), CPU, torch.bfloat16).network
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors.values()) and not network.training
    assert {value.dtype for name, value in tensors.items() if name.endswith("num_batches_tracked")} == {torch.int64}


# -- as a model -----------------------------------------------------------------------------------------------------------

OPENED = ("stabilityai/sd-vae-ft-mse", "CompVis/ldm-celebahq-256", "mit-han-lab/dc-ae-f32c32-in-1.0-diffusers")


class CodecEngine(TinyEngine):
    """A tiny engine with one model more."""

    def __init__(self, model: PictureCodec) -> None:
        super().__init__(batch_size=4)
        self.codec = model
        self.add(_card("codec", "ae"))

    def _load(self, card: Any) -> _Seat:
        return _Seat(self.codec, "0" * 64)

    def classifier_of(self, card: str) -> Any:
        if self.codec.image_size != 28:
            raise NotCapable("The classifier knows other pictures.", "Choose another tool.")
        return super().classifier_of(card)


@pytest.fixture(scope="module", params=["tiny", *OPENED])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PictureCodec:
    if request.param == "tiny":
        return PictureCodec.tiny()
    opened = FORMAT.open(write(codec(request.param), tmp_path_factory.mktemp("codec")), "ae", CPU, torch.float32)
    assert isinstance(opened, PictureCodec)
    return opened


def test_it_can_what_an_autoencoder_can_and_no_more(model: PictureCodec) -> None:
    assert able(model, Encodes) and able(model, Squeezes)
    assert not any(able(model, need) for need in (Compresses, HasMap, LacksPrior, HasPosterior))
    assert [spec.name for spec in model.knobs()] == ["temperature"]
    assert model.latent.mix == "lerp" and model.bytes() > 0


def test_the_side_is_bounded_and_whole(tmp_path: Path) -> None:
    def side(name: str, **changed: Any) -> tuple[int, tuple[int, ...]]:
        opened = FORMAT.open(write(codec(name, **changed), tmp_path / f"{name}{changed}"), "ae", CPU, torch.float32)
        return opened.image_size, opened.latent.shape

    assert side("madebyollin/taesd") == (256, (4, 32, 32))
    assert side("black-forest-labs/FLUX.1-schnell") == (256, (16, 32, 32))
    assert side("stabilityai/sd-vae-ft-mse") == (32, (4, 4, 4))
    assert side("stabilityai/sd-vae-ft-mse", sample_size=[30, 30]) == (24, (4, 3, 3))
    assert side("stabilityai/sd-vae-ft-mse", sample_size=2) == (8, (4, 1, 1))


def test_only_a_small_one_follows_the_finger() -> None:
    class Weighing(torch.nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(count, device="meta"))

    def live(count: int) -> bool:
        codec = Codec(4, 8, 3, Weighing(count), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 64)
        return PictureCodec(codec, CPU).live

    assert live(int(LIVE_WORK / 64**2)) and not live(int(LIVE_WORK / 64**2) + 1)


def test_drawing_is_noise_times_temperature(model: PictureCodec) -> None:
    z = model.draw(model.Params.parse({"temperature": 0.5}), Noise([7]))
    expected = 0.5 * torch.randn(model.latent.shape, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(z[0], expected, rtol=0, atol=0)


def test_a_batch_is_made_one_by_one_and_each_as_alone(model: PictureCodec) -> None:
    params, seeds = model.Params(), [3, 4, 5]
    steps = list(model.decode(model.draw(params, Noise(seeds)), params, Noise(seeds)))
    assert [(step.index, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(steps[0].x[0], steps[-1].x[0]) and (steps[0].x[1:] == -1).all()
    for place, seed in enumerate(seeds):
        *_, alone = model.decode(model.draw(params, Noise([seed])), params, Noise([seed]))
        assert torch.equal(alone.x[0], steps[-1].x[place])


def test_through_is_there_and_back(model: PictureCodec) -> None:
    x = picture(model.image_size, channels=model.channels)
    back = model.through(x, model.Params())
    torch.testing.assert_close(back, model.codec.decode(model.codec.encode(x)).clamp(-1, 1), rtol=1e-4, atol=1e-5)


def test_a_direction_raises_one_channel_everywhere(model: PictureCodec) -> None:
    words = model.directions()
    assert next(iter(words)) == "pc:1" and len(words) == model.codec.channels
    bench = Bench("codec", model, model.Params(), _Visit(CodecEngine(model)))
    moved = bench.latent(Latent.parse("seed:1 + 2*pc:2")) - bench.latent(Latent.parse("seed:1"))
    expected = torch.zeros_like(moved)
    expected[:, 1] = 2
    torch.testing.assert_close(moved, expected)
    assert model.direction("pc", str(model.codec.channels + 1)) is None
    single = model.direction("dim", "2")
    assert single is not None and single.flatten().nonzero().tolist() == [[1]]


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.missing(PictureCodec) is None], ids=lambda task: task.name)
def test_tasks_run(model: PictureCodec, task: Any) -> None:
    """All that every tab has; of the other tools, those need test pictures of its own size, and say so."""
    engine = CodecEngine(model)
    known = {spec.name for spec in [*task.specs(), *model.Params.specs()]}
    knobs = {name: value for name, value in BASE[task.name].items() if name in known}
    request = Request.build("codec", task.name, cards=engine.cards, **knobs)
    try:
        sheet = engine.run(request).sheet
    except NotCapable as error:
        assert not task.common and model.image_size != 28, error
        return
    assert sheet.progress == 1 and len(sheet.pictures) and np.ptp(sheet.pictures) > 0
    if task.name == "traverse":
        assert not np.array_equal(sheet.pictures[0], sheet.pictures[-1])


def test_a_folder_becomes_a_card_of_the_page(tmp_path: Path) -> None:
    folder = write(codec("stabilityai/sd-vae-ft-mse"), tmp_path / "vae")
    engine = Engine(Settings(hub="off", device="cpu", lock_file=tmp_path / "lock.json"))
    card = engine.adopt(str(folder))
    assert (card.family, card.format) == ("ae", "diffusers-autoencoder") and set(card.files) == {"config.json", WEIGHTS}
    result = engine.run(Request.build(card.id, "sample", cards=engine.cards, num_samples=2))
    assert result.pictures.shape == (2, 32, 32, 3)
    assert result.request.params.to_plain()["temperature"] == 1.0
    back = engine.run(Request.build(card.id, "reconstruct", cards=engine.cards, picture="test:3"))
    assert back.pictures.shape[1:] == (32, 32, 3)
