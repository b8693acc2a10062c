"""Edit: a picture turned back to noise, and made again as something else. DDIM inversion, Song et al., arXiv 2010.02502."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from playground.errors import BadKnob
from playground.families.base import Model, Step
from playground.families.capabilities import Diffuses
from playground.images import Pictures, to_uint8
from playground.knobs import ClassChoice, Knob
from playground.latent import Latent, Noise
from playground.metrics import psnr_db
from playground.tasks.base import Bench, Sheet, Task, register
from playground.tasks.halfway import SAW, reach, seen_as, shares, shown


@register
class Edit(Task):
    """The picture, the noise behind it, what that noise makes again, and what it makes when another class is told."""

    name: ClassVar[str] = "edit"
    title: ClassVar[str] = "Edit"
    says: ClassVar[str] = "The picture is turned back to its noise; the same noise then makes it again, or as another class."
    needs: ClassVar[tuple[type, ...]] = (Diffuses,)
    stages = ("decode",)
    common: ClassVar[bool] = False
    without: ClassVar[tuple[str, ...]] = ("scheduler", "eta", "label", "guidance_scale")
    picture: Latent = Knob(Latent.parse("test:0"), label="Picture", help="A test picture, a file of yours, or a drawing.", widget="latent")
    target: ClassChoice = Knob("any", label="New class", help="What it becomes; any shows every class.", widget="class")
    push: float = Knob(
        4.0, label="Guidance", help="How strongly it is pushed towards the new class; 1 is not at all.", ge=1.0, le=8.0, step=0.5
    )
    depth: float = Knob(
        0.9, label="Depth", help="How far back towards noise: less keeps more of the picture and changes less.", ge=0.1, le=1.0, step=0.05
    )

    @classmethod
    def missing(cls, family: type[Model] | Model) -> str | None:
        if isinstance(family, Model) and not family.classes:
            return "be told a class"
        return super().missing(family)

    def run(self, bench: Bench) -> Iterator[Sheet]:
        x, back = bench.picture(self.picture), bench.under(label="none", scheduler="ddim", eta=0.0, guidance_scale=1.0)
        num_left = max(1, round(self.depth * back.params.to_plain()["num_inference_steps"]))
        names, labels = self._targets(bench.model)
        black = torch.full_like(x, -1.0)
        model, time, z = back.able(Diffuses), back.able(Diffuses).time_left(num_left, back.params), x
        for found in model.retrace(x, num_left, back.params):
            z = found.z
            yield _sheet(
                bench,
                self.picture,
                x,
                _noise(bench, z, time),
                black.expand(len(labels) + 1, -1, -1, -1),
                names,
                found.index / found.total / 2,
            )
        *_, again = model.finish(z, num_left, back.params, Noise([0]))
        for step in _edited(bench, z, num_left, labels, self.push):
            made = torch.cat([again.x, step.x])
            yield _sheet(bench, self.picture, x, _noise(bench, z, time), made, names, (1 + step.index / step.total) / 2)

    def _targets(self, model: Model) -> tuple[list[str], Tensor]:
        """Names and numbers of the classes that it is made as; the number after the last class tells none."""
        count = len(model.classes)
        if self.target == "any":
            return list(model.classes), torch.arange(count)
        if self.target == "none":
            return ["no class"], torch.tensor([count])
        if int(self.target) >= count:
            raise BadKnob(f"There is no class {self.target} here.", f"Give a number from 0 to {count - 1}, or any, or none.")
        return [model.classes[int(self.target)]], torch.tensor([int(self.target)])


def _edited(bench: Bench, z: Tensor, num_left: int, labels: Tensor, push: float) -> Iterator[Step]:
    """The noise `z` (1, C, H, W) made into each of `labels`, by DDIM without fresh noise, with guidance `push`."""
    params = bench.params.but(scheduler="ddim", eta=0.0, guidance_scale=push)
    many = z.expand(len(labels), -1, -1, -1)
    yield from bench.able(Diffuses).finish(many, num_left, params, Noise([0] * len(labels)), labels)


def _noise(bench: Bench, z: Tensor, time: float) -> Pictures:
    return shown(z, reach(*shares(bench, time)))


def _sheet(bench: Bench, picture: Latent, x: Tensor, noise: Pictures, made: Tensor, names: Sequence[str], share: float) -> Sheet:
    pictures = np.concatenate([to_uint8(x), noise, to_uint8(made)])
    facts = _facts(bench, x, made, names) if share == 1 else {}
    labels = (SAW, "its noise", "made again", *(f"as {name}" for name in names))
    latents = (str(picture), *[""] * (len(labels) - 1))
    told: dict[str, Any] = {"facts": facts, "says": _words(facts) if facts else "", "progress": share, "named": True}
    return Sheet(pictures, 4, labels, latents, (0,) * len(labels), **told)


def _facts(bench: Bench, x: Tensor, made: Tensor, names: Sequence[str]) -> dict[str, Any]:
    edited = made[1:]
    taken = [name for name, _ in seen_as(bench, edited)]
    return {
        "again_db": psnr_db(x, made[:1]).item(),
        "edited_db": [round(value, 2) for value in psnr_db(x.expand_as(edited), edited).tolist()],
        "asked": list(names),
        "taken_for": taken,
        "reached": sum(one == other for one, other in zip(names, taken, strict=True)),
    }


def _words(facts: dict[str, Any]) -> str:
    again = f"Its noise makes the picture again to {facts['again_db']:.1f} dB"
    if facts["asked"] == ["no class"]:
        return f"{again}; told no class, there is nothing to push it towards."
    change = f"told another class, it changes by {np.mean(facts['edited_db']):.1f} dB on average"
    count = len(facts["asked"])
    return f"{again}; {change}. The classifier takes {facts['reached']} of {count} for the class that was asked for."
