"""Candles in a terminal."""

import httpx2
import pytest

from tests.unit.cli.conftest import ScriptedServer, Typed

CANDLE = '{"opened_at":"2026-11-24T08:10:00Z","open":60000.10,"high":60010,"low":59990,"close":60005.5,"ticks":240}'
ANSWER = f'{{"pair":"BTCUSDT","interval":"5m","candles":[{CANDLE}]}}'


def test_candles_are_a_table(typed: Typed, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, text=ANSWER)]
    shown = typed("candles", "BTC", "--interval", "5m", "--limit", "7").stdout
    (line,) = (line for line in shown.splitlines() if "2026-11-24 08:10:00" in line)
    assert line.split()[2:] == ["60,000.10", "60,010", "59,990", "60,005.5", "240"]
    assert dict(server.asked[0].url.params) == {"interval": "5m", "limit": "7"}


@pytest.mark.parametrize(
    ("named", "path"), [("BTC/USD", b"BTC-USD"), ("btc", b"btc"), ("../x?y", b"..-x%3Fy"), ("a b", b"a%20b")]
)
def test_a_pair_is_one_part_of_the_path(typed: Typed, server: ScriptedServer, named: str, path: bytes) -> None:
    server.replies = [httpx2.Response(200, text=ANSWER)]
    assert typed("candles", named, "--json").stdout == f"{ANSWER}\n"
    assert server.asked[0].url.raw_path.partition(b"?")[0] == b"/api/v1/prices/" + path + b"/candles"


def test_a_pair_without_candles_is_told(typed: Typed, server: ScriptedServer) -> None:
    server.replies = [httpx2.Response(200, json={"pair": "BTCUSDT", "interval": "1m", "candles": []})]
    assert typed("candles", "BTC").stdout == "No candles of BTCUSDT.\n"
