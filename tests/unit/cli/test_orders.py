"""Orders as they are amended."""

from typing import Any

import httpx2
import pytest

from tests.unit.cli.conftest import ScriptedServer, Typed


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--no-activation"], {"activation_price": None}),
        (["--no-activation", "--trailing", "0.5%"], {"activation_price": None, "trailing_stop_percentage": "0.5"}),
        (["--activation", "61500"], {"activation_price": "61500"}),
        (["--trailing", "200"], {"trailing_stop_distance": "200"}),
    ],
)
def test_an_activation_stays_changes_or_is_taken_away(
    typed: Typed, server: ScriptedServer, words: list[str], asked: dict[str, Any]
) -> None:
    server.replies = [httpx2.Response(200, json={})]
    assert typed("order", "amend", "7", *words, "--json").exit_code == 0
    assert (server.asked[0].method, server.asked[0].url.path) == ("PATCH", "/api/v1/trading/orders/7")
    assert server.body(0) == asked
