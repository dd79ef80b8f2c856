"""Cursors and pages."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.paging import Page, read_cursor, write_cursor
from app.domain.errors import InvalidRequest


@dataclass(frozen=True)
class Row:
    id: int


@given(st.integers(1, 2**63 - 1))
def test_a_cursor_comes_back(row_id: int) -> None:
    assert read_cursor(write_cursor(row_id)) == row_id


@pytest.mark.parametrize(
    "cursor", ["", "a", "AAAA", write_cursor(0), write_cursor(2**63), write_cursor(-1), "MTIz!", "Ljk5"]
)
def test_what_we_did_not_write_is_no_cursor(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_cursor(cursor)
    assert caught.value.code == "VALIDATION_ERROR"


def test_pages_walk_through_all_rows() -> None:
    rows = [Row(row_id) for row_id in range(10, 0, -1)]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = Page(limit=3, cursor=cursor)
        found = [row for row in rows if page.before is None or row.id < page.before][: page.wanted]
        shown, cursor = page.cut(found)
        seen += [row.id for row in shown]
        if cursor is None:
            break

    assert seen == list(range(10, 0, -1))
