"""The only reader of the environment: every `PLAYGROUND_*` variable, once, with its default and what it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from playground.errors import BadKnob

PREFIX = "PLAYGROUND_"
PROJECT = Path(__file__).resolve().parent.parent
SECRET = ("sign_in", "engine_token")
"""Settings whose values are shown to nobody."""


class Settings(BaseModel):
    """What the operator chooses. Field `some_name` is read from `PLAYGROUND_SOME_NAME`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(
        "", description="Address the page listens on; empty is this machine alone, or what a Space asks for. A container says 0.0.0.0."
    )
    port: int = Field(7860, ge=0, le=65535, description="Port the page listens on; 0 picks a free one.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where models run; auto prefers CUDA, then MPS.")
    engine: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="Address of a remote engine that makes the pictures; empty makes them here."
    )
    engine_token: str = Field("", repr=False, description="Secret that a remote engine and its pages share; empty asks for none.")
    memory_mb: int = Field(2048, ge=16, description="MiB of weights kept loaded; the least recently used model goes first.")
    threads: int = Field(1, ge=1, le=64, description="Torch threads of the page on the CPU; more is slower when the cores are busy.")
    batch_size: int = Field(16, ge=1, le=1024, description="Pictures of one request in a forward pass; previews and Stop come between.")
    merged_rows: int = Field(64, ge=1, le=4096, description="Most pictures in a forward pass that several requests share.")
    recordings: int = Field(
        32, ge=0, le=1000, description="Forward passes kept recorded, as CUDA graphs or as traces on the CPU; 0 records none."
    )
    merge_ms: float = Field(3.0, ge=0, le=100, description="Longest in ms that a forward pass waits for others to share it.")
    at_once: int = Field(4, ge=1, le=256, description="Kept pictures and comparisons made at once; the others wait in line.")
    line_length: int = Field(100, ge=0, le=10_000, description="How many may wait in line; one more is asked to come back later.")
    sessions: int = Field(
        400, ge=10, le=10_000, description="Visits and calls of endpoints that Gradio remembers, about 1 MiB each; the oldest goes first."
    )
    max_seconds: float = Field(300.0, gt=0, description="Longest in seconds that one request may take; then it is stopped with a sentence.")
    max_work: int = Field(
        200,
        ge=1,
        description="Largest request in millions: pictures × passes of the network × numbers that it works on (pixels).",
    )
    weights_dir: Path = Field(PROJECT / "weights", description="Folder of bundled cards and of `models.toml`.")
    data_dir: Path = Field(Path("/usr/share/datasets/fashion-mnist"), description="Fashion-MNIST's four .gz files, for training.")
    hub: Literal["off", "listed", "any"] = Field(
        "any",
        description="What may be fetched from the Hub: nothing, what `models.toml` lists, or any repo. On a Space the default is `listed`.",
    )
    max_fetch_mb: int = Field(6144, ge=1, description="Largest model in MiB that a visitor may have fetched.")
    visitors: Literal["trusted", "strangers"] = Field(
        "trusted",
        description="Whether visitors may open folders of this machine, unload and forget models. On a Space the default is `strangers`.",
    )
    lock_file: Path = Field(
        Path(),
        description="Where it is written which commit each fetched model is; empty is `hub-lock.json` in the weights folder.",
    )
    hub_timeout: float = Field(10.0, gt=0, le=600, description="Seconds to wait for an answer of the Hub.")
    hub_retries: int = Field(3, ge=0, le=10, description="Further tries after a broken or refused transfer.")
    max_upload_mb: int = Field(10, ge=1, le=200, description="Largest file in MiB that a visitor may hand in.")
    live_per_second: int = Field(240, ge=1, description="Live frames a second one visitor may ask for.")
    sign_in: str = Field(
        "",
        repr=False,
        description="Who may use the page: `name:password` pairs between commas. Empty is everybody; a password has no comma.",
    )
    log: Literal["off", "text", "json"] = Field(
        "off",
        description="What is written to stderr: nothing, or a line for each start, stop and request; never what was asked, or by whom.",
    )
    metrics: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether `/metrics` tells Prometheus how the page is used; auto is no where strangers come and nobody signs in.",
    )
    stop_seconds: float = Field(30.0, ge=0, le=3600, description="Seconds that running requests have to finish when the page is stopped.")

    @field_validator("sign_in")
    @classmethod
    def _readable(cls, text: str) -> str:
        _pairs(text)
        return text

    @property
    def accounts(self) -> dict[str, str]:
        """Who may use the page: name to password; empty is everybody."""
        return _pairs(self.sign_in)

    @property
    def tells_metrics(self) -> bool:
        """Whether `/metrics` answers."""
        return self.metrics == "on" or (self.metrics == "auto" and (self.visitors == "trusted" or bool(self.sign_in)))

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the environment. Raises `BadKnob` naming the variable and its bounds when one does not fit."""
        names = {name: PREFIX + name.upper() for name in cls.model_fields}
        given = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
        if os.environ.get("SPACE_ID"):  # a Space is open to everybody
            given = {"hub": "listed", "visitors": "strangers", **given}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise BadKnob(
                f"{_shown(names[name], name, given.get(name))} does not fit: {first['msg']}.", f"{cls.model_fields[name].description}"
            ) from (None if name in SECRET else error)  # pydantic's own words hold the value

    @property
    def lock_path(self) -> Path:
        """Where the lock file is."""
        return self.weights_dir / "hub-lock.json" if self.lock_file == Path() else self.lock_file

    @classmethod
    def table(cls) -> str:
        """A Markdown table of all variables, their defaults and meaning; README holds exactly this."""
        rows = ["| Variable | Default | What it does |", "|---|---|---|"]
        for name, field in cls.model_fields.items():
            default = field.default
            shown = default.relative_to(PROJECT) if isinstance(default, Path) and default.is_relative_to(PROJECT) else default
            shown = "" if shown == Path() else shown
            rows.append(f"| `{PREFIX}{name.upper()}` | `{shown}` | {field.description} |")
        return "\n".join(rows)


def on_zero_gpu() -> bool:
    """Whether this is a Space whose GPU is lent for seconds at a time."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def _shown(variable: str, name: str, value: object) -> str:
    return variable if name in SECRET else f"{variable}={value!r}"


def _pairs(text: str) -> dict[str, str]:
    """`name:password,name:password` read; a mistake is told by its position, without what stands there."""
    pairs: dict[str, str] = {}
    for number, part in enumerate(text.split(","), 1) if text.strip() else ():
        name, colon, password = part.strip().partition(":")
        if not (colon and name.strip() and password):
            raise ValueError(f"pair {number} is not name:password")
        if name.strip() in pairs:
            raise ValueError(f"pair {number} repeats a name")
        pairs[name.strip()] = password
    return pairs
