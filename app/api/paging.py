"""Keyset pages: an opaque cursor that names the last id of a page."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Query

from app.domain.errors import InvalidRequest
from app.schemas.base import MAX_ID, Cursor

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Identified(Protocol):
    """A row with an id."""

    @property
    def id(self) -> int:
        """The row's id."""
        ...


class Page:
    """Which page a caller asked for: `limit` rows with ids below `before` (from the newest where None)."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of a page")] = DEFAULT_LIMIT,
        cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before")] = None,
    ) -> None:
        self.limit = limit
        self.before = None if cursor is None else read_cursor(cursor)

    @property
    def wanted(self) -> int:
        """How many rows to read: one more than shown tells whether another page follows."""
        return self.limit + 1

    def cut[R: Identified](self, rows: Sequence[R]) -> tuple[Sequence[R], str | None]:
        """The rows of this page and the cursor of the next; None on the last page."""
        if len(rows) <= self.limit:
            return rows, None
        shown = rows[: self.limit]
        return shown, write_cursor(shown[-1].id)


PageDep = Annotated[Page, Depends()]


def write_cursor(last_id: int) -> str:
    """The cursor after a row."""
    return base64.urlsafe_b64encode(str(last_id).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """The id that a cursor holds; InvalidRequest for one that we did not write."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    if not (text.isdigit() and 1 <= int(text) <= MAX_ID and write_cursor(int(text)) == cursor):
        wrong = {"field": "query.cursor", "code": "cursor_unknown", "message": "Not a cursor of this list"}
        raise InvalidRequest(errors=[wrong])
    return int(text)
