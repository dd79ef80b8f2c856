"""Redis and RabbitMQ as commands find them: told in a sentence, soon, and without a secret."""

import socket
import time
from collections.abc import Callable

import pytest
from amqp.exceptions import AccessRefused

from app.cli.connections import broker_failure, check_broker, check_cache
from app.cli.failure import Failure
from app.core.celery_queue import CeleryQueue
from tests.ports import free_port

SECONDS = 8.0
LOGIN = "ann:hidden@"
CHECKS: list[tuple[str, str, Callable[[str], str]]] = [
    ("Redis at REDIS_URL", "redis", check_cache),
    ("RabbitMQ at BROKER_URL", "amqp", lambda url: check_broker(url, "jobs")),
]


def failed(check: Callable[[str], str], url: str) -> Failure:
    """How a check fails, which never takes long and never shows the password."""
    began = time.monotonic()
    with pytest.raises(Failure) as caught:
        check(url)
    assert time.monotonic() - began < SECONDS
    assert "hidden" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


@pytest.mark.parametrize(("named", "scheme", "check"), CHECKS)
def test_what_is_down_is_named(named: str, scheme: str, check: Callable[[str], str]) -> None:
    failure = failed(check, f"{scheme}://{LOGIN}127.0.0.1:{free_port()}")
    assert failure.message.startswith(f"{named} cannot be used: ")
    assert "password" in (failure.hint or "")


@pytest.mark.parametrize(("named", "scheme", "check"), CHECKS)
def test_what_says_nothing_is_not_waited_for(named: str, scheme: str, check: Callable[[str], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert failed(check, f"{scheme}://{LOGIN}127.0.0.1:{port}").message.startswith(f"{named} cannot be used: ")


@pytest.mark.parametrize(("named", "scheme", "check"), CHECKS)
def test_a_password_that_breaks_the_url_stays_hidden(named: str, scheme: str, check: Callable[[str], str]) -> None:
    told = failed(check, f"{scheme}://ann:hidden/half@127.0.0.1").message
    assert told.startswith(f"{named} cannot be used: it is no URL; in a password, signs such as /")


def test_where_a_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ping(_queue: CeleryQueue) -> None:
        return

    monkeypatch.setattr(CeleryQueue, "ping", ping)
    assert check_broker(f"amqp://{LOGIN}broker:5673/ours", "jobs") == "RabbitMQ answers at broker:5673"
    assert check_broker(f"amqp://{LOGIN}broker", "jobs") == "RabbitMQ answers at broker"


def test_a_refused_login_is_told_in_the_brokers_words() -> None:
    refused = AccessRefused("ACCESS_REFUSED - Login was refused. For details see the broker logfile.", (0, 0))
    failure = broker_failure(refused)
    assert failure.message == (
        "RabbitMQ at BROKER_URL cannot be used: (403) ACCESS_REFUSED - Login was refused. "
        "For details see the broker logfile."
    )
    assert "password" in (failure.hint or "")
