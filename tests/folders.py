"""Folders for installations that tests start."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def passable_folder(prefix: str) -> Iterator[Path]:
    """A folder for the block, which others may pass through.

    As root the database's account must enter a data dir, or the database would stand elsewhere and stay there.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
