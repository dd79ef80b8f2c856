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
        ({"webhook_allow_local": True}, "WEBHOOK_ALLOW_LOCAL"),
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


def test_files_that_nothing_would_play_are_refused() -> None:
    with pytest.raises(ValidationError, match="PAPER_REPLAY is played with PAPER_FEED=replay only"):
        make(paper_replay="BTCUSDT=a.csv")


def test_everything_that_production_lacks_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        make(environment="production", rate_limit_price=0, rate_limit_login=0, default_venue="nowhere")
    told = str(caught.value)
    for named in ("DATABASE_URL", "SECRET_KEY", "RATE_LIMIT_PRICE=0, RATE_LIMIT_LOGIN=0:", "nowhere"):
        assert named in told


@pytest.mark.parametrize("origins", ["app.example.com", "https://app.example.com/", "https://*.example.com", "null"])
def test_an_origin_is_scheme_host_and_port(origins: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        make(cors_origins=origins)


def test_origins_of_apps_and_of_development_are_taken() -> None:
    origins = ["*", "http://localhost:5173", "https://[::1]:8443", "capacitor://localhost"]
    assert make(cors_origins=",".join(origins)).cors_origins == origins


@pytest.mark.parametrize("proxies", ["*", "127.0.0.1,*", "0.0.0.0/0", "::/0"])
def test_not_everybody_is_a_proxy(proxies: str) -> None:
    with pytest.raises(ValidationError, match="name the proxies"):
        make(forwarded_allow_ips=proxies)
    assert make(forwarded_allow_ips="10.0.0.0/8,::1").forwarded_allow_ips == ["10.0.0.0/8", "::1"]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis_url", "http://user:hunter2-canary@host"),
        ("redis_url", "redis://"),
        ("broker_url", "redis://user:hunter2-canary@host"),
        ("database_replica_url", "postgresql://user:hunter2-canary@host/name"),
    ],
)
def test_an_url_of_another_scheme_is_refused_and_not_shown(name: str, url: str) -> None:
    with pytest.raises(ValidationError, match="must begin with") as caught:
        make(**{**PRODUCTION, name: url})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["broker_url", "database_replica_url"])
def test_what_other_processes_work_on_is_not_the_embedded_database(name: str) -> None:
    url = {"broker_url": "amqp://guest@host", "database_replica_url": PRODUCTION["database_url"]}[name]
    with pytest.raises(ValidationError, match=f"{name.upper()} needs DATABASE_URL"):
        make(**{name: url})
    assert make(**{**PRODUCTION, name: url}).is_production
