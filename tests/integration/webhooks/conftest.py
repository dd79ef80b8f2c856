"""A running server whose webhooks may go to this machine, a receiver of them, and their owner."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.config.settings import Settings
from app.services.webhook_secrets import WebhookSecrets
from tests.conftest import MakeSettings
from tests.factories import Person
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Receiver, running_receiver


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """Endpoints on this machine, which have two seconds for an answer."""
    return make_settings(webhook_allow_local=True, webhook_timeout_seconds=2)


@pytest_asyncio.fixture(scope="module")
async def keys(container: Container) -> WebhookSecrets:
    """Opens the secrets of endpoints, as the running server does."""
    keys = WebhookSecrets(container.cipher("webhook"))
    await keys.get_ready()
    return keys


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def owner(client: httpx2.AsyncClient, user: Person) -> Owner:
    """Somebody new."""
    return Owner(client, user)


@pytest.fixture
def stranger(client: httpx2.AsyncClient, other_user: Person) -> Owner:
    """Somebody else."""
    return Owner(client, other_user)
