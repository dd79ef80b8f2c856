"""Every test of the console script runs in a place of its own, without the developer's .env, data and sessions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import passable_folder


@pytest.fixture
def installation() -> Iterator[Path]:
    """A folder for a server with a database of its own, gone afterwards, whoever runs the test."""
    with passable_folder("marqetfi-cli-") as folder:
        yield folder


@pytest.fixture(autouse=True)
def _place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MARQETFI_DATA_DIR", str(tmp_path / "data"))
