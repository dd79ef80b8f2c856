"""What `marqetfi doctor` says of a server that is up in part."""

import json

import httpx2
import pytest

from tests.unit.cli.conftest import URL, ScriptedServer, Typed


@pytest.mark.parametrize(
    ("down", "said"),
    [
        ("order_engine", f"{URL} is up, but not its order_engine. An operator starts one: marqetfi engine"),
        ("cache", f"{URL} is up, but not its cache"),
    ],
)
def test_a_server_without_an_engine_is_told_how_to_get_one(
    typed: Typed, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, down: str, said: str
) -> None:
    # No more than the server is looked at.
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://postgres@127.0.0.1:9/none")
    parts = {"database": "up", "order_engine": "up", "cache": "up", down: "down"}
    server.replies = [httpx2.Response(200, json={"status": "degraded", "version": "1", "parts": parts})]
    findings = json.loads(typed("doctor", "--json").stdout)["findings"]
    assert [(one["verdict"], one["seen"]) for one in findings if one["check"] == "server"] == [("failed", said)]
