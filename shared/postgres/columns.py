"""Columns as most tables have them: those of the key, and those that are never null."""

from typing import Any

import sqlalchemy as sa

Kind = type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]


def key(name: str, kind: Kind = sa.Text, *more: sa.Identity, **options: Any) -> sa.Column[Any]:
    """Returns a column of the primary key."""
    return sa.Column(name, kind, *more, primary_key=True, **options)


def required(name: str, kind: Kind = sa.Text, *more: sa.Identity, **options: Any) -> sa.Column[Any]:
    """Returns a column that is not null."""
    return sa.Column(name, kind, *more, nullable=False, **options)
