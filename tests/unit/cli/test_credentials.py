"""Where sessions are kept, and who can read them."""

import stat
from pathlib import Path

import pytest

from app.cli.credentials import FILE_NAME, CredentialStore, Login, config_dir

ANN = Login("ann@example.com", "access", "refresh", "2030-01-01T00:00:00Z")


def test_sessions_of_several_servers(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "new")
    store.save("http://a", ANN)
    store.save("http://b", Login("bob@example.com", "x", "y", "2030-01-01T00:00:00Z"))
    assert store.load("http://a") == ANN
    store.save("http://b", None)
    assert store.load("http://b") is None
    assert CredentialStore(tmp_path / "new").load("http://a") == ANN


def test_only_the_user_can_read_them(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "new")
    store.save("http://a", ANN)
    assert stat.S_IMODE((tmp_path / "new" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"http://a": 1}', '{"http://a": {"email": "x"}}'])
def test_a_file_that_cannot_be_understood_is_no_session(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    store = CredentialStore(tmp_path)
    assert store.load("http://a") is None
    store.save("http://a", ANN)
    assert store.load("http://a") == ANN


def test_the_place_by_the_xdg_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert config_dir() == Path("/somewhere/marqetfi")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_dir() == Path.home() / ".config" / "marqetfi"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config_dir() == Path.home() / ".config" / "marqetfi"
