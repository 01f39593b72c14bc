"""What every part of a suite file is made of: names, identifiers, and records that refuse unknown keys."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)

from harness.suite.schema_errors import with_valid_keys

# No control characters, and none that turns the direction of text round: a name stands in terminals and on pages.
_NAME = r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\\]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=_NAME)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion of types, no number that is infinite or none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise with_valid_keys(error, list(cls.model_fields)) from error
