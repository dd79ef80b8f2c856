"""From the log to an endpoint, over the loops of a running server."""

import pytest

from app.domain.enums import DeliveryStatus
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.webhook_secrets import WebhookSecrets
from tests.factories import Person
from tests.integration.webhooks.endpoints import SECRET, create_endpoint, deliveries_of, emit
from tests.integration.webhooks.receiver import Receiver
from tests.servers import RunningServer
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("server")


async def test_each_event_is_sent_once_and_signed(
    uow: UnitOfWorkFactory, keys: WebhookSecrets, user: Person, receiver: Receiver, server: RunningServer
) -> None:
    endpoint = await create_endpoint(uow, keys, user.id, receiver.url())
    await emit(uow, user.id, 3)
    await until(lambda: len(receiver.received) == 3)

    assert sorted(request.sequence for request in receiver.received) == [1, 2, 3]
    for request in receiver.received:
        assert request.problems(SECRET) == []
        assert request.problems("another secret") == ["SIGNATURE_MISMATCH", "SIGNATURE_MISMATCH"]

    async def is_recorded() -> bool:
        rows = await deliveries_of(uow, endpoint.id)
        return all(row["status"] == DeliveryStatus.DELIVERED and row["lease_until"] is None for row in rows)

    await until(is_recorded)
