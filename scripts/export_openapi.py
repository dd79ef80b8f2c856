"""Writes the snapshots docs/openapi.json and docs/asyncapi.json, so that a change of the API shows in review.

python -m scripts.export_openapi
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from app.api import asyncapi
from app.config.settings import Settings
from app.main import create_app

DOCS = Path(__file__).parents[1] / "docs"
SNAPSHOT = DOCS / "openapi.json"
ASYNCAPI_SNAPSHOT = DOCS / "asyncapi.json"


def document() -> str:
    """The OpenAPI document that the application serves."""
    return _lines(create_app(Settings(_env_file=None)).openapi())


def asyncapi_document() -> str:
    """The AsyncAPI document that it serves."""
    return _lines(asyncapi.document())


def _lines(served: object) -> str:
    """A document in a form whose lines can be compared."""
    return json.dumps(served, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


SNAPSHOTS: Mapping[Path, Callable[[], str]] = {SNAPSHOT: document, ASYNCAPI_SNAPSHOT: asyncapi_document}


def main() -> int:
    """Write the snapshots, and say of each whether it changed."""
    for path, written in SNAPSHOTS.items():
        text = written()
        is_new = not path.exists() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {'written' if is_new else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
