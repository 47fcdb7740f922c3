"""How a setting is declared: its default, its meaning, its form and an example, in one place.

Everything that speaks of settings (messages, the documentation, the System page) reads these.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_NEEDS_JSON = re.compile(r"[,=\n]|^[\[{\"']")  # what a plain list would take apart


class Section(BaseModel):
    """Settings that belong together. The first line of its docstring heads them in documents."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Note:
    """What people are told about a setting, beyond its type.

    Attributes:
        form: how its text must look; empty where the type says it.
        default: how the default is described where it depends on the box; else empty.
    """

    __slots__ = ("default", "form")

    def __init__(self, *, form: str = "", default: str = "") -> None:
        self.form = form
        self.default = default


def setting(  # noqa: PLR0913 - one argument for each thing to know of a setting
    default: object = PydanticUndefined,
    meaning: str = "",
    *,
    example: str,
    note: Note | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> Any:  # noqa: ANN401 - like pydantic's Field, it stands where a value of the type stands
    """One setting: a field of a `Section`.

    Args:
        default: its value when the variable is unset; without one it is required.
        meaning: one sentence for the operator.
        example: a value as one writes it into the variable; shown in messages.
        note: form and described default where they are special.
        ge: the smallest number.
        gt: the number it must be above.
        le: the largest number.
    """
    field: Any = Field(default, description=meaning, examples=[example], ge=ge, gt=gt, le=le)
    field.metadata.append(note or Note())
    return field


def note_of(field: FieldInfo) -> Note:
    """The note of a field that was declared by `setting`."""
    return next((item for item in field.metadata if isinstance(item, Note)), Note())


def is_secret(annotation: object) -> bool:
    """Whether values of this type hold a `SecretStr`, however deep: they are never shown.

    It is the one mark of a secret. Whoever hides, redacts or reads secrets from files asks here.
    """
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(is_secret(field.annotation) for field in annotation.model_fields.values())
    return any(map(is_secret, get_args(annotation)))


def secrets_in(value: object) -> Iterator[str]:
    """The plain text of every `SecretStr` in a value."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_in(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from secrets_in(item)
        case tuple() | list() | frozenset():
            for item in value:
                yield from secrets_in(item)


def form_of(field: FieldInfo) -> str:
    """How the variable's text must look, for people."""
    if form := note_of(field).form:
        return form
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        *others, last = get_args(annotation)
        return f"{', '.join(others)} or {last}"
    kinds = get_args(annotation) or (annotation,)
    if bool in kinds:
        return "on or off"
    if int in kinds:
        return f"whole number, {_bounds(field)}"
    if float in kinds:
        return f"number, {_bounds(field)}"
    return "text"


def default_of(field: FieldInfo) -> str:
    """The default as one would write it; empty where there is none."""
    described = note_of(field).default
    return described or ("" if field.is_required() else as_text(field.default))


def as_text(value: object) -> str:
    """A value in the form that its variable takes."""
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case Mapping() if any(map(_NEEDS_JSON.search, value)):
            return json.dumps(dict(value), ensure_ascii=False)
        case Mapping():
            return ", ".join(
                name if item is None else f"{name}={as_text(item)}" for name, item in value.items()
            )
        case tuple():
            return ", ".join(map(as_text, value))
    return "" if value is None else str(value)


def _bounds(field: FieldInfo) -> str:
    lowest = next((f"{item.ge}.." for item in field.metadata if isinstance(item, Ge)), "")
    above = next((f"above {item.gt}, " for item in field.metadata if isinstance(item, Gt)), "")
    highest = next((f"{item.le}" for item in field.metadata if isinstance(item, Le)), "")
    return f"{lowest}{highest}" if lowest else f"{above}at most {highest}"
