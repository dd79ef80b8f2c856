"""The documentation says what the code says, and its links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import CATALOGUE
from scripts import generate_docs
from scripts.doc_blocks import BLOCKS, ROOT, table

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What headings are known by, as GitHub writes them."""
    headings = HEADING.findall(CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[str]:
    return (link for link in LINK.findall(CODE.sub("", page.read_text())) if "://" not in link)


def test_every_generated_part_is_up_to_date() -> None:
    assert generate_docs.outdated(ROOT) == []


def test_every_part_that_is_written_stands_somewhere() -> None:
    text = "".join(page.read_text() for page in generate_docs.pages(ROOT))

    assert {name for name in BLOCKS if f"<!-- generated: {name} -->" not in text} == set()


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs/errors.md").read_text()

    assert [code for code in CATALOGUE if f"| `{code}` |" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_exists(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_what_is_out_of_date_is_told_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- generated: pairs -->\nold\n<!-- end of pairs -->\nafter\n")
    monkeypatch.setattr(generate_docs, "ROOT", tmp_path)

    assert generate_docs.main(["--check"]) == 1
    assert generate_docs.main([]) == 0
    assert generate_docs.main(["--check"]) == 0
    assert "| `BTCUSDT` | crypto |" in page.read_text()
    assert page.read_text().startswith("before\n")


def test_a_part_that_nobody_writes_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        generate_docs.renewed("<!-- generated: nothing -->\n<!-- end of nothing -->")


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert table(("a", "b"), [["1|2", "3"]]).splitlines()[-1] == "| 1\\|2 | 3 |"
