"""What settings refuse, and that they never repeat a secret."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.config.settings import Settings

PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "database_url": "postgresql+asyncpg://user:hunter2-canary@db/marqetfi",
    "secret_key": "hunter2-canary that is longer than 32 characters",
}


def make(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def test_nothing_need_be_set() -> None:
    assert make().rate_limits["trade"] == 10
    assert not make().is_production


def test_production_works_with_what_it_needs() -> None:
    assert make(**PRODUCTION).is_production


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"database_url": None}, "DATABASE_URL"),
        ({"secret_key": None}, "SECRET_KEY"),
        ({"secret_key": "hunter2-canary"}, "SECRET_KEY"),
        ({"rate_limit_price": 0}, "RATE_LIMIT_"),
    ],
)
def test_production_says_what_is_missing_and_no_secret(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**{**PRODUCTION, **changes})

    assert named in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_secret_is_not_shown() -> None:
    assert "canary" not in repr(make(**PRODUCTION))


def test_lists_are_read_from_text() -> None:
    settings = make(cors_origins="https://a.example, https://b.example,", encryption_keys="new,old")
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
    assert [key.get_secret_value() for key in settings.encryption_keys] == ["new", "old"]


def test_replay_needs_files() -> None:
    with pytest.raises(ValidationError, match="PAPER_REPLAY"):
        make(paper_feed="replay")
