"""One of several values, as one parameter."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY


def among(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the column is one of `values`. `in_` writes a parameter for each: another number of them is another
    statement, which the database prepares anew."""
    return column == any_(literal(list(values), ARRAY(column.type)))
