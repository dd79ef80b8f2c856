"""The project's own gates: prints one line for each breach, `path:line rule: sentence`; exit 1 when there is any.

python -m scripts.check_rules [root]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.gates.imports import check_imports
from scripts.gates.limits import check_limits
from scripts.gates.locks import check_locks
from scripts.gates.measures import measure
from scripts.gates.rules import RULES
from scripts.gates.source import Breach, read_sources

FOLDERS = ("app", "benchmarks", "migrations", "scripts", "tests")


def breaches(root: Path) -> Iterator[Breach]:
    """Everything that is wrong in the project at `root`."""
    sources, unreadable = read_sources(root, FOLDERS)
    yield from unreadable
    for source in sources:
        for rule in RULES:
            yield from rule(source)
    app = [source for source in sources if source.within("app")]
    tests = [source for source in sources if source.within("tests")]
    yield from check_imports(app)
    yield from check_limits(measure(app), measure(tests))
    yield from check_locks(root)


def main(arguments: list[str]) -> int:
    """Check the project in the given or the current folder."""
    root = Path(arguments[0]) if arguments else Path.cwd()
    found = sorted(set(breaches(root)))
    for breach in found:
        print(breach)
    if found:
        print(f"check_rules: {len(found)} breaches", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
