"""Lists page by page: how many at once, and cursors that a client hands back unchanged."""

import base64
from typing import Annotated

from fastapi import Query

from shared.kernel.errors import Invalid

PAGE_MAX = 200
"""Rows of one page: about 300 kB."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def encoded(key: str | None) -> str | None:
    """The cursor after the row with `key`; None: there is no next page."""
    return None if key is None else base64.urlsafe_b64encode(key.encode()).decode()


def decoded(cursor: str) -> str:
    """The key in a cursor; Invalid when it is none of ours."""
    try:
        return base64.urlsafe_b64decode(cursor).decode()
    except ValueError:
        raise invalid_cursor() from None


def invalid_cursor() -> Invalid:
    """For a cursor that was made up or changed."""
    return Invalid("cursor", "give `next` of the page before, unchanged")
