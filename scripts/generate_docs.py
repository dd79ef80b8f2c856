"""Write the generated parts of README.md and docs/: what stands between two marks of the same name.

python -m scripts.generate_docs [--check]; with --check nothing is written, and what is out of date exits 1.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.doc_blocks import BLOCKS, ROOT

BLOCK = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end of \1 -->", re.DOTALL)


def pages(root: Path) -> Iterator[Path]:
    """Every page of the documentation."""
    yield root / "README.md"
    yield from sorted((root / "docs").glob("*.md"))


def renewed(page: str) -> str:
    """A page with its generated parts as they should be; KeyError for a part that nobody writes."""
    return BLOCK.sub(lambda found: marked(found[1], BLOCKS[found[1]]()), page)


def marked(name: str, content: str) -> str:
    """A generated part between its marks."""
    return f"<!-- generated: {name} -->\n\n{content}\n\n<!-- end of {name} -->"


def outdated(root: Path) -> list[Path]:
    """The pages whose generated parts are not what the code says."""
    return [page for page in pages(root) if renewed(page.read_text()) != page.read_text()]


def main(arguments: Sequence[str]) -> int:
    """Write what is out of date, or tell it."""
    found = outdated(ROOT)
    if "--check" not in arguments:
        for page in found:
            page.write_text(renewed(page.read_text()))
        return 0
    for page in found:
        print(f"{page.relative_to(ROOT)}: python -m scripts.generate_docs writes it anew")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
