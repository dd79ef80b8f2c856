"""Writes the OpenAPI snapshot, docs/openapi.json, so that a change of the API shows in review.

python -m scripts.export_openapi
"""

import json
import sys
from pathlib import Path

from app.config.settings import Settings
from app.main import create_app

SNAPSHOT = Path(__file__).parents[1] / "docs" / "openapi.json"


def document() -> str:
    """The document that the application serves, in a form whose lines can be compared."""
    served = create_app(Settings(_env_file=None)).openapi()
    return json.dumps(served, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the snapshot, and say whether it changed."""
    text = document()
    is_new = not SNAPSHOT.exists() or SNAPSHOT.read_text(encoding="utf-8") != text
    SNAPSHOT.write_text(text, encoding="utf-8")
    print(f"{SNAPSHOT.name}: {'written' if is_new else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
