"""Generated requests, right and wrong, against every documented operation: no 500, nothing undocumented.

A fixed number of examples from a fixed seed, so that a run can be repeated.
"""

import asyncio
import copy
import json
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from scripts.export_openapi import SNAPSHOT
from tests.factories import Person
from tests.servers import RunningServer

EXAMPLES = 25
ASSETS = ("BTC", "EURUSD", "ETH-USD", "AAPL", "NOPE")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Where rules that no schema tells are applied too: what is well-formed may be refused all the same.
JUDGED = {
    "analytics_pnl",
    "analytics_summary",
    "auth_register",
    "events_list_events",
    "prices_list_candles",
    "prices_list_prices",
    "routing_explain_route",
    "trading_close_trade",
    "trading_open_trade",
    "trading_preview",
    "orders_attach_order",
    "orders_amend_order",
    "webhooks_amend_webhook",
    "webhooks_create_webhook",
    "webhooks_replace_webhook",
    "webhooks_rotate_secret",
    "webhooks_verify_webhook",
}


POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


def operations() -> list[Any]:
    """Each operation with right requests, and with wrong ones where there is something to get wrong."""
    document = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return [
        pytest.param(
            operation["operationId"], path, method.upper(), mode, id=f"{operation['operationId']}-{mode.value}"
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for mode in (POSITIVE, NEGATIVE)
        if mode is POSITIVE or operation.keys() & {"parameters", "requestBody", "security"}
    ]


@pytest_asyncio.fixture(scope="module")
async def schema(client: httpx2.AsyncClient) -> OpenApiSchema:
    """The document as it is served, without the answer that stands for all others: each status must be named."""
    document: dict[str, Any] = copy.deepcopy((await client.get("/openapi.json")).json())
    for operations in document["paths"].values():
        for operation in operations.values():
            del operation["responses"]["default"]
    return schemathesis.openapi.from_dict(document)


@pytest.mark.parametrize(("name", "path", "method", "mode"), operations())
async def test_an_operation_answers_as_documented(
    schema: OpenApiSchema, server: RunningServer, user: Person, name: str, path: str, method: str, mode: GenerationMode
) -> None:
    await asyncio.to_thread(attack, schema[path][method], name, mode, server.url, user)


def attack(
    operation: APIOperation[Any, Any, Any, Any], name: str, mode: GenerationMode, url: str, user: Person
) -> None:
    """Send generated requests and hold each answer against the document."""
    checks = list(CHECKS)
    if mode is NEGATIVE:
        checks.append(negative_data_rejection)
    elif name not in JUDGED:
        checks.append(positive_data_acceptance)
    session = requests.Session()
    session.trust_env = False

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), asset=st.sampled_from(ASSETS))
    def send(case: Case[Any], asset: str) -> None:
        if mode is POSITIVE:
            if isinstance(case.body, dict) and "asset" in case.body:
                case.body["asset"] = asset
            # Only a list itself writes cursors.
            case.query.pop("cursor", None)
        response = case.call(url, session=session, headers=user.headers)
        case.validate_response(response, checks=checks)

    with session:
        send()
