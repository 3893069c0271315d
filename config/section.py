"""What every group of settings is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


def _not_empty(value: Sequence[Any]) -> Sequence[Any]:
    if not value:
        raise ValueError("at least one is needed")
    return value


NOT_EMPTY = AfterValidator(_not_empty)
"""Marks a list that has at least one item; pydantic's `min_length` would complain about faulty items a second time."""


class Section(BaseModel):
    """Base of every group of settings: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
