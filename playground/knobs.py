"""A knob is declared once: bounds, step, default, label and help. Everything else follows from it.

`Knobs` models are frozen pydantic models; the widget, the API's signature, the server-side check, the link, the PNG text
and the reset all read the same declaration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import Self

from playground.errors import BadKnob, unknown

Stage = Literal["draw", "decode"]
MAX_SEED = 2**31 - 1


def Knob(
    default: Any,
    *,
    label: str,
    help: str,
    ge: float | None = None,
    le: float | None = None,
    step: float | None = None,
    unit: str = "",
    stage: Stage | None = None,
    widget: str = "",
    choices: Mapping[str, str] | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
) -> Any:
    """One knob. `stage` says which half of sampling a family's knob acts on; `choices` maps values to the words shown.

    `widget` names a special widget (`seed`, `class`, `latent`, `latents`, `direction`, `mask`, `knob`); else the type decides.
    """
    extra: dict[str, Any] = {"step": step, "unit": unit, "stage": stage, "widget": widget, "choices": dict(choices or {})}
    bounds: dict[str, Any] = {"ge": ge, "le": le, "min_length": min_length, "max_length": max_length}
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


def whole_number(text: str, least: int, most: int) -> int | None:
    """The number that a text from outside is: plain digits, within bounds; else None."""
    digits = text.isascii() and text.isdecimal() and len(text) <= 20  # Python refuses to read thousands of them
    return number if digits and least <= (number := int(text)) <= most else None


def Seed(help: str = "Which pictures are drawn; the same seed gives the same pictures, always.") -> Any:
    """The knob every random task has: a whole number, 0..2³¹-1."""
    return Knob(0, label="Seed", help=help, ge=0, le=MAX_SEED, step=1, widget="seed")


def ClassLabel(help: str = "Which class is drawn: any takes one for each picture by its seed, none leaves it to the model.") -> Any:
    """The knob of a class-conditional model: `any`, `none`, or the number of a class. Its type is `ClassChoice`."""
    return Knob("any", label="Class", help=help, widget="class")


def _class_choice(value: str) -> str:
    if value not in ("any", "none") and whole_number(value, 0, 9999) is None:
        raise ValueError(f"{value[:20]!r} is no class; write any, none, or the number of a class")
    return value


ClassChoice = Annotated[str, AfterValidator(_class_choice)]
"""What a `ClassLabel` knob holds."""


class KnobSpec(BaseModel):
    """What a widget, a document or a test needs to know of one knob."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    label: str
    help: str
    kind: Literal["int", "float", "bool", "choice", "text", "texts"]
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    unit: str = ""
    stage: Stage | None = None
    widget: str = ""
    choices: Mapping[str, str] = {}
    min_length: int | None = None
    max_length: int | None = None

    def ends(self) -> tuple[Any, ...]:
        """The values at both ends of what is allowed (all choices of a choice); empty for free text."""
        if self.kind in ("int", "float"):
            number = int if self.kind == "int" else float
            return tuple(number(end) for end in (self.minimum, self.maximum) if end is not None)
        if self.kind == "bool":
            return (False, True)
        return tuple(self.choices) if self.kind == "choice" else ()


class Knobs(BaseModel):
    """Base of a family's `Params` and of every task's knobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def specs(cls) -> tuple[KnobSpec, ...]:
        """Every knob, in the order of declaration."""
        return tuple(_spec(name, field) for name, field in cls.model_fields.items())

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Checks `values` (numbers, or their text from a link).

        Raises `BadKnob` with the value, the bounds and the remedy for the first that does not fit or does not exist.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _sentence(cls, error, values) from error

    def but(self, **changes: Any) -> Self:
        """The same with some knobs set otherwise. Raises `BadKnob`."""
        return self.parse({**self.to_plain(), **changes})

    def to_plain(self) -> dict[str, Any]:
        """All knobs as JSON values, those at their default too."""
        return self.model_dump(mode="json")


def _spec(name: str, field: FieldInfo) -> KnobSpec:
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    bounds = {key: getattr(item, key) for item in field.metadata for key in ("ge", "le", "min_length", "max_length") if hasattr(item, key)}
    kind = _kind(field.annotation)
    choices = extra.get("choices") or ({value: str(value) for value in get_args(field.annotation)} if kind == "choice" else {})
    default = field.get_default(call_default_factory=True)
    return KnobSpec(
        name=name,
        label=field.title or name,
        help=field.description or "",
        kind=kind,
        default=[str(item) for item in default] if kind == "texts" else str(default) if kind == "text" else default,
        minimum=bounds.get("ge"),
        maximum=bounds.get("le"),
        min_length=bounds.get("min_length"),
        max_length=bounds.get("max_length"),
        step=extra.get("step"),
        unit=extra.get("unit", ""),
        stage=extra.get("stage"),
        widget=extra.get("widget", ""),
        choices=choices,
    )


def _kind(annotation: Any) -> Literal["int", "float", "bool", "choice", "text", "texts"]:
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "texts"
    plain: dict[Any, Literal["int", "float", "bool"]] = {int: "int", float: "float", bool: "bool"}
    return plain.get(annotation, "text")


def _sentence(knobs: type[Knobs], error: ValidationError, values: Mapping[str, Any]) -> BadKnob:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    specs = {spec.name: spec for spec in knobs.specs()}
    if name not in specs:
        return BadKnob(*unknown("knob", name, specs))
    spec, value = specs[name], values.get(name)
    if spec.kind in ("int", "float"):
        return BadKnob(f"{spec.label} cannot be {_short(value)}.", f"Give {_range(spec)}.")
    if spec.kind == "choice":
        return BadKnob(f"{spec.label} cannot be {_short(value)}.", f"Choose one of: {', '.join(spec.choices)}.")
    if first["type"] in ("too_short", "too_long"):
        return BadKnob(f"{spec.label} cannot have {_count(value)} entries.", f"Give {spec.min_length} to {spec.max_length}.")
    what = first["msg"].removeprefix("Value error, ")
    return BadKnob(f"{spec.label}: {what.rstrip('.')}.", "Change it or reset the knob.")


def _range(spec: KnobSpec) -> str:
    words = ["a whole number" if spec.kind == "int" else "a number"]
    for word, bound in (("from", spec.minimum), ("to", spec.maximum)):
        if bound is not None:
            words += [word, f"{bound:.0f}" if spec.kind == "int" else f"{bound:g}"]
    return " ".join(words)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _count(value: object) -> int:
    return len(value) if isinstance(value, Sequence) and not isinstance(value, str) else 1
