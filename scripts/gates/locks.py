"""Locked requirements: every package with hashes, no address of an index, so that any index can serve them."""

import re
from collections.abc import Iterator
from pathlib import Path

from scripts.gates.source import Breach

ADDRESS = re.compile(r"https?://|^\s*--(extra-)?index-url|^\s*--find-links")


def check_locks(root: Path) -> Iterator[Breach]:
    """Addresses and missing hashes in the requirements files of the project."""
    for path in sorted(root.glob("requirements*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if ADDRESS.search(line):
                yield Breach(path.name, number, "lock", "no address in a locked file: make requirements")
            if "==" in line and not line.lstrip().startswith("#") and not line.endswith("\\"):
                yield Breach(path.name, number, "lock", "a package without a hash: make requirements")
