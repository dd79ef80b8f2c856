"""The dead man's switch from a terminal: set, asked for, and switched off."""

from typing import Any

import httpx2
import pytest

from tests.unit.cli.conftest import ScriptedServer, Typed

OFF = {"armed": False, "fires_at": None, "scope": "entries", "firing": False}
ARMED = {"armed": True, "fires_at": "2026-11-24T08:10:13.000000Z", "scope": "entries", "firing": False}


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["60"], {"timeout_seconds": 60, "scope": "entries"}),
        (["60", "--scope", "all"], {"timeout_seconds": 60, "scope": "all"}),
        (["0"], {"timeout_seconds": 0, "scope": "entries"}),
    ],
)
def test_it_is_set_and_switched_off(
    typed: Typed, server: ScriptedServer, words: list[str], asked: dict[str, Any]
) -> None:
    server.replies = [httpx2.Response(200, json=OFF)]
    assert typed("cancel-all-after", *words).exit_code == 0
    assert (server.asked[0].method, server.asked[0].url.path) == ("POST", "/api/v1/trading/cancel-all-after")
    assert server.body(0) == asked


@pytest.mark.parametrize(
    ("switch", "sentence"),
    [
        (OFF, "The switch is off."),
        (ARMED, "Your resting entries are cancelled at 2026-11-24 08:10:13 UTC, unless this is said again before."),
        ({**ARMED, "scope": "all"}, "Your resting entries and your exits are cancelled at"),
        ({**ARMED, "firing": True}, "Your resting entries are being cancelled: its time came, and it is not done yet."),
    ],
)
def test_without_a_number_it_is_shown(
    typed: Typed, server: ScriptedServer, switch: dict[str, Any], sentence: str
) -> None:
    server.replies = [httpx2.Response(200, json=switch)]
    assert sentence in typed("cancel-all-after").stdout
    assert server.asked[0].method == "GET"


def test_programs_get_the_answer(typed: Typed, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, text='{"armed":false}')]
    assert typed("cancel-all-after", "--json").stdout == '{"armed":false}\n'
