"""The types of the inventory's keys, and what every table obeys."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from distributor.inventory import names, values
from distributor.model.hazards import HAZARDS
from distributor.model.hosts import JumpHost, SocketAddress
from distributor.model.secret import Secret

_SECRET_KEYS: Final = ("env", "file", "keyring", "command", "plain")

T = TypeVar("T")


def _parsed(parse: Callable[[str], T]) -> tuple[PlainValidator, WithJsonSchema]:
    """Read a TOML string by `parse`, which returns a value of another type."""

    def check(value: object) -> T:
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        return parse(value)

    return PlainValidator(check), WithJsonSchema({"type": "string"})


Line = Annotated[str, AfterValidator(values.line)]
Description = Annotated[str, AfterValidator(values.description)]
Port = Annotated[int, AfterValidator(names.port_number)]
ServerName = Annotated[str, AfterValidator(names.server_name)]
LocalPath = Annotated[Path, *_parsed(values.path)]
RemotePath = Annotated[str, AfterValidator(values.remote_path)]
Place = Annotated[SocketAddress, *_parsed(names.socket_address)]
Nameserver = Annotated[SocketAddress, *_parsed(names.nameserver)]
Jump = Annotated[JumpHost, *_parsed(names.jump_host)]
Duration = Annotated[timedelta, *_parsed(values.duration)]
RenewBefore = Annotated[timedelta | Literal["ari"], *_parsed(values.renew_before)]
Hazard = Annotated[
    str, AfterValidator(values.hazard), WithJsonSchema({"type": "string", "enum": list(HAZARDS)})
]
Services = Annotated[
    Literal["keep", "all"] | tuple[str, ...],
    PlainValidator(values.services),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["keep", "all"]},
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        }
    ),
]


class Table(BaseModel):
    """What every table of the inventory obeys: no coercion, no unknown key, no echo of values."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class SecretTable(Table):
    """Where a secret is, by exactly one key."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    env: Annotated[str, AfterValidator(values.environment_name)] | None = None
    """Name of an environment variable."""
    file: LocalPath | None = None
    """Path of a file, relative to the inventory; one final newline is removed."""
    keyring: Line | None = None
    """Name in the system's keyring."""
    command: Annotated[list[str], AfterValidator(values.argv)] | None = None
    """Program and arguments; what it prints, less one final newline."""
    plain: Annotated[Secret, *_parsed(Secret)] | None = None
    """The text itself; only where nobody but its owner may read the inventory."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_table(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError, not TypeError
                "a secret is never a bare value but a table that says where it is, "
                'such as { env = "NAME" } or { file = "path" }'
            )
        return value

    @field_validator("plain")
    @classmethod
    def _plain_is_private(cls, value: Secret, info: ValidationInfo) -> Secret:
        if not (info.context and info.context["private"]):
            raise ValueError(
                "a plain secret is refused while others may read the inventory: "
                "`chmod 600` it, or use env or file"
            )
        if value.is_empty:
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _has_one_key(self) -> "SecretTable":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"must have exactly one of {values.one_of(_SECRET_KEYS)}")
        return self
