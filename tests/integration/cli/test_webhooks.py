"""`marqetfi webhooks` against a real server and real receivers: an endpoint's life, from a terminal."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.events import EventType
from app.models.event import Event
from tests.conftest import MakeSettings
from tests.integration.cli.terminal import Ask, Run, failure
from tests.integration.webhooks.receiver import Received, Receiver, running_receiver, status
from tests.waiting import until


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """Endpoints on this machine."""
    return make_settings(webhook_allow_local=True, webhook_endpoints_per_user=3)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


async def made(ask: Ask, url: str, *words: str) -> dict[str, Any]:
    """A new endpoint, as its owner is told of it."""
    endpoint: dict[str, Any] = await ask("webhooks", "create", url, *words)
    return endpoint


def typed(request: Received) -> list[str]:
    """The headers of a request, as options."""
    return [word for name, value in request.headers.items() for word in ("-H", f"{name}: {value}")]


async def test_an_endpoint_is_made_and_its_secret_signs(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    assert "No endpoints. marqetfi webhooks create makes one." in (await run("webhooks", "list")).stdout
    shown = (await run("webhooks", "create", receiver.url(), "--event", "trade.*", "--event", "order.filled")).stdout
    (endpoint,) = (await ask("webhooks", "list"))["webhooks"]
    secret = next(line.split()[1] for line in shown.splitlines() if line.startswith("secret"))
    assert "Created." in shown
    assert "The secret is shown this once" in shown
    assert f"marqetfi webhooks test {endpoint['id']}" in shown
    assert endpoint["event_types"] == ["trade.*", "order.filled"]
    assert secret.endswith(endpoint["secret_hint"])
    assert secret not in (await run("webhooks", "show", str(endpoint["id"]))).stdout

    tested = await run("webhooks", "test", str(endpoint["id"]))
    assert "Delivered." in tested.stdout
    assert "200, " in tested.stdout
    (request,) = receiver.at()
    assert request.problems(secret) == []
    listed = (await run("webhooks", "list")).stdout
    assert "trade.*, order.filled" in listed
    assert "on" in listed.split()
    assert [row["id"] for row in (await ask("webhooks", "list", "--event", "trade.closed"))["webhooks"]]
    assert (await ask("webhooks", "list", "--event", "order.failed"))["webhooks"] == []


async def test_a_secret_of_ones_own_is_not_shown_again(run: Run, trader: str, receiver: Receiver) -> None:
    secret = "a-secret-of-my-own-[/b]"
    shown = await run("webhooks", "create", receiver.url(), "--secret-stdin", stdin=f"{secret}\n")
    assert "the one you gave" in shown.stdout
    assert secret not in shown.stdout
    assert "...[/b]" in (await run("webhooks", "list")).stdout


async def test_what_no_endpoint_can_be_says_what_to_do(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    wrong = await run("webhooks", "create", receiver.url(), "--event", "trade.close", code=1)
    assert "hint: marqetfi webhooks types lists them all." in wrong.stderr
    for path in ("/1", "/2", "/3"):
        await made(ask, receiver.url(path))
    full = await run("webhooks", "create", receiver.url("/4"), code=1)
    assert "error: LIMIT_EXCEEDED" in full.stderr
    assert "hint: marqetfi webhooks delete makes room." in full.stderr
    missing = await run("webhooks", "show", "4000", code=1)
    assert "hint: marqetfi webhooks list shows yours." in missing.stderr


async def test_an_endpoint_is_changed_and_switched_off(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    number = str((await made(ask, receiver.url("/old")))["id"])
    changed = await run("webhooks", "update", number, "--to", receiver.url("/new"), "--event", "order.*", "--off")
    assert "Updated." in changed.stdout
    shown = await ask("webhooks", "show", number)
    assert (shown["url"], shown["event_types"], shown["is_active"]) == (receiver.url("/new"), ["order.*"], False)
    off = await run("webhooks", "test", number, code=1)
    assert f"hint: Switch it on: marqetfi webhooks update {number} --on" in off.stderr
    assert (await ask("webhooks", "update", number, "--on"))["is_active"] is True
    await run("webhooks", "test", number)
    assert len(receiver.at("/new")) == 1


async def test_deleting_asks_first(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    number = str((await made(ask, receiver.url()))["id"])
    refused = await run("webhooks", "delete", number, stdin="n\n", code=1)
    assert f"Delete webhook {number}, {receiver.url()}, with its deliveries?" in refused.stderr
    assert (await ask("webhooks", "show", number))["is_active"] is True
    assert "is deleted" in (await run("webhooks", "delete", number, stdin="y\n")).stdout
    other = str((await made(ask, receiver.url()))["id"])
    assert await ask("webhooks", "delete", other, "--yes") == {"id": int(other), "deleted": True}
    assert (await ask("webhooks", "list"))["webhooks"] == []


async def test_a_secret_is_rotated_with_and_without_an_overlap(
    run: Run, ask: Ask, trader: str, receiver: Receiver
) -> None:
    endpoint = await made(ask, receiver.url())
    number, old = str(endpoint["id"]), endpoint["secret"]
    new = (await ask("webhooks", "rotate", number))["secret"]
    assert new != old
    assert "signs too until" in (await run("webhooks", "show", number)).stdout
    await run("webhooks", "test", number)
    assert receiver.at()[0].problems(new) == receiver.at()[0].problems(old) == []

    shown = (await run("webhooks", "rotate", number, "--overlap", "0")).stdout
    assert "signs no more" in shown
    assert "The secret is shown this once" in shown
    await run("webhooks", "test", number)
    assert receiver.at()[1].problems(new) != []
    assert receiver.at()[1].problems(next(line.split()[1] for line in shown.splitlines() if "whsec_" in line)) == []


async def test_a_delivery_that_failed_is_looked_at_and_sent_again(
    run: Run, ask: Ask, trader: str, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = status(500, "broken \x1b[31mhere")
    number = str((await made(ask, receiver.url()))["id"])
    told = await run("webhooks", "test", number, code=1)
    assert "error: WEBHOOK_NOT_DELIVERED The endpoint did not take evt_" in told.stderr
    assert "it answered 500; the next try is at" in told.stderr
    (row,) = (await ask("webhooks", "deliveries", number, "--status", "pending"))["deliveries"]
    assert f"hint: marqetfi webhooks delivery {number} {row['id']} shows request and answer." in told.stderr
    log = " ".join((await run("webhooks", "deliveries", number)).stdout.split())
    assert f"{row['id']} webhook.test {row['event_id']} pending" in log
    assert " 500 " in log
    assert " ms " in log
    assert "No deliveries." in (await run("webhooks", "deliveries", number, "--failed")).stdout

    shown = (await run("webhooks", "delivery", number, str(row["id"]))).stdout
    assert f"POST {receiver.url()}\n" in shown
    assert "webhook-signature: ********" in shown
    assert receiver.at()[0].body.decode() in shown
    assert "Answer 500\nbroken \N{REPLACEMENT CHARACTER}[31mhere" in shown

    receiver.answers["/hook"] = status(204)
    assert "Due again." in (await run("webhooks", "resend", number, str(row["id"]))).stdout
    await until(lambda: len(receiver.at()) >= 2)

    async def is_delivered() -> bool:
        found = await ask("webhooks", "delivery", number, str(row["id"]))
        return bool(found["status"] == "delivered")

    await until(is_delivered)
    gone = await run("webhooks", "delivery", number, "4000", code=1)
    assert "hint: marqetfi webhooks deliveries lists those that are still kept." in gone.stderr


async def test_what_was_missed_is_sent_since_a_time(
    run: Run, ask: Ask, trader: str, receiver: Receiver, container: Container
) -> None:
    number = str((await made(ask, receiver.url(), "--event", "order.filled"))["id"])
    await run("webhooks", "update", number, "--off")
    await run("trade", "open", "BTC", "--long", "--collateral", "20")

    async def is_relayed() -> bool:
        async with container.uow() as work:
            return not await work.session.scalar(select(Event.id).where(Event.fanned_out_at.is_(None)).limit(1))

    # Or it would be handed to the endpoint once that is on.
    await until(is_relayed)
    await run("webhooks", "update", number, "--on")
    assert "1 delivery is due again." in (await run("webhooks", "resend", number, "--since", "1h")).stdout
    await until(receiver.at)
    assert receiver.at()[0].payload["event_type"] == EventType.ORDER_FILLED

    async def is_over() -> bool:
        found = (await ask("webhooks", "deliveries", number, "--status", "delivered"))["deliveries"]
        return len(found) == 1

    await until(is_over)
    assert "Nothing is due again." in (await run("webhooks", "resend", number, "--since", "1h")).stdout
    again = await ask("webhooks", "resend", number, "--since", "2026-01-01", "--include-delivered")
    assert again == {"scheduled": 1, "next_since": None}


async def test_a_test_that_is_not_waited_for_or_hangs(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    receiver.hang()
    number = str((await made(ask, receiver.url()))["id"])
    assert (await ask("webhooks", "test", number, "--wait", "0"))["event_type"] == EventType.WEBHOOK_TEST
    assert "is on its way as evt_" in (await run("webhooks", "test", number, "--wait", "0")).stdout
    assert (await failure(run, "webhooks", "test", number, "--wait", "1"))["code"] == "DELIVERY_PENDING"
    receiver.released.set()


async def test_pages_of_deliveries(run: Run, ask: Ask, trader: str, receiver: Receiver) -> None:
    number = str((await made(ask, receiver.url()))["id"])
    first, second = [await ask("webhooks", "test", number) for _ in range(2)]
    page = (await run("webhooks", "deliveries", number, "--limit", "1")).stdout
    assert second["event_id"] in page
    cursor = page.split("--cursor ")[1].split()[0]
    rest = await ask("webhooks", "deliveries", number, "--limit", "1", "--cursor", cursor)
    assert [row["event_id"] for row in rest["deliveries"]] == [first["event_id"]]


async def test_every_type_and_one_with_its_example(run: Run, ask: Ask, trader: str) -> None:
    listed = (await run("webhooks", "types")).stdout
    assert all(kind in listed for kind in EventType)
    assert len((await ask("webhooks", "types"))["event_types"]) == len(EventType)
    shown = (await run("webhooks", "types", "trade.closed")).stdout
    assert json.loads(shown[shown.index("{") :])["status"] == "closed"
    assert (await ask("webhooks", "types", "trade.closed"))["json_schema"]["properties"]["exit_price"]
    unknown = await run("webhooks", "types", "trade.clsed", code=1)
    assert "hint: Did you mean trade.closed" in unknown.stderr


async def test_what_a_receiver_got_is_verified(
    run: Run, ask: Ask, trader: str, receiver: Receiver, tmp_path: Path
) -> None:
    endpoint = await made(ask, receiver.url())
    number = str(endpoint["id"])
    await run("webhooks", "test", number)
    (request,) = receiver.at()
    body = tmp_path / "body"
    body.write_bytes(request.body)
    good = await run("webhooks", "verify", number, "--body", str(body), *typed(request))
    assert "yes, signed by this secret" in good.stdout
    padded = await run(
        "webhooks", "verify", number, "--body", "-", *typed(request), stdin=f"{request.body.decode()}\n", code=1
    )
    assert "authentic  no" in padded.stdout
    assert "BODY_PADDED" in padded.stdout
    by_secret = ("webhooks", "verify", "--secret-stdin", "--body", str(body), *typed(request))
    await run(*by_secret, stdin=f"{endpoint['secret']}\n")
    told = json.loads((await run(*by_secret, "--json", stdin="another secret\n", code=1)).stdout)
    assert {problem["code"] for problem in told["problems"]} == {"SIGNATURE_MISMATCH"}
