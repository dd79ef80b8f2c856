"""Endpoints that lead inside: refused as they are made, and as they are sent to, whatever their name said before."""

import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from app.bootstrap import Container, bootstrap
from app.config.settings import Settings
from app.core.clock import Clock
from app.core.outbound_http import OutboundHttp
from tests.conftest import MakeSettings
from tests.integration.api.trading.market import refusal
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver
from tests.logs import heard

PUBLIC = "93.184.216.34"
# What names lead to; a test changes it.
NAMES: dict[str, list[str]] = {}


async def look_up(host: str, _port: int) -> Sequence[str]:
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "not known")
    return NAMES[host]


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """As in production: nothing on this machine."""
    return make_settings(webhook_timeout_seconds=2)


@pytest_asyncio.fixture(scope="module")
async def container(settings: Settings, clock: Clock) -> AsyncIterator[Container]:
    """The parts of a process whose names lead where a test says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.webhook_wiring.OutboundHttp", partial(OutboundHttp, lookup=look_up))
        async with bootstrap(settings, clock=clock) as container:
            yield container


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://inside.example.com/", ["10.0.0.1"]),
        ("https://inside.example.com/", ["169.254.169.254"]),
        ("https://inside.example.com/", ["::1"]),
        ("https://inside.example.com/", ["fd00:ec2::254"]),
        ("https://unknown.example.com/", None),
        ("http://outside.example.com/", [PUBLIC]),
        ("https://outside.example.com:22/", [PUBLIC]),
        ("https://127.0.0.1/", ["127.0.0.1"]),
        ("https://2130706433/", ["127.0.0.1"]),
        ("https://localhost/", ["127.0.0.1"]),
        ("https://db.internal/", [PUBLIC]),
    ],
)
async def test_what_leads_inside_is_refused_as_it_is_made(owner: Owner, url: str, addresses: list[str] | None) -> None:
    NAMES.clear()
    if addresses is not None:
        NAMES[str(urlsplit(url).hostname)] = addresses
    answer = await owner.ask("POST", "", {"url": url, "event_types": ["*"]})
    refusal(answer, 400, "WEBHOOK_URL_REFUSED")
    assert all(address not in answer.text for address in addresses or [] if address not in url)


async def test_nobody_learns_which_names_there_are_inside(owner: Owner) -> None:
    NAMES.clear()
    NAMES["db.corp.example.com"] = ["10.0.0.1"]
    told = set()
    for host, detail in (("db", "blocked_address"), ("no", "dns_failed")):
        url = f"https://{host}.corp.example.com/"
        with heard("INFO") as lines:
            answer = await owner.ask("POST", "", {"url": url, "event_types": ["*"]})
        assert refusal(answer, 400, "WEBHOOK_URL_REFUSED") == {"reason": "no_public_address"}
        assert f"The webhook URL {url} is refused: {detail}\n" in lines
        told.add(answer.json()["error"]["message"])
    assert len(told) == 1


async def test_a_name_that_is_gone_later_is_told_as_one_that_leads_inside(owner: Owner) -> None:
    NAMES["gone.example.com"] = [PUBLIC]
    made = await owner.create("https://gone.example.com/hook")
    del NAMES["gone.example.com"]
    with heard("INFO") as lines:
        await owner.ask("POST", f"/{made['id']}/test")
        found = await owner.until_delivery(made["id"], last_error="no_public_address", status="pending")
    assert [attempt["error"] for attempt in found["attempt_log"]] == ["no_public_address"]
    assert f"Webhook delivery {found['id']}: dns_failed\n" in lines


async def test_a_name_that_leads_elsewhere_later_is_not_followed(owner: Owner, receiver: Receiver) -> None:
    NAMES["rebound.example.com"] = [PUBLIC]
    made = await owner.create("https://rebound.example.com:8443/hook")
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "192.168.0.1"):
        NAMES["rebound.example.com"] = [address]
        with heard("INFO") as lines:
            event_id = (await owner.ask("POST", f"/{made['id']}/test")).json()["event_id"]
            found = await owner.until_delivery(made["id"], event_id=event_id, last_error="no_public_address")
        assert found["status"] == "pending"
        assert address not in str(found["attempt_log"])
        assert f"Webhook delivery {found['id']}: blocked_address\n" in lines
    assert receiver.received == []
