"""Over HTTP: trailing stops that begin at an activation price, and exits that watch another price than the mark."""

from typing import Any

import pytest

from tests.integration.api.trading.market import HandMarket, Trader, refusal

TRAILING: dict[str, Any] = {"order_type": "TRAILING_STOP", "trailing_stop_distance": 500, "activation_price": 51000}


class TestActivation:
    async def test_a_stop_is_shown_and_fires_only_after_its_activation(
        self, trader: Trader, market: HandMarket
    ) -> None:
        opened = await trader.open(**TRAILING)
        (exit_id,) = opened["exit_order_ids"]
        await market.at(47_000)
        waiting = await trader.order(exit_id)
        assert (waiting["status"], waiting["activation_price"]) == ("pending", 51000)
        assert (waiting["activated_sequence"], waiting["stop_price"], waiting["watermark"]) == (None, None, None)

        began = await market.at(51_000)
        shown = await trader.until_value(exit_id, activated_sequence=began)
        assert (shown["watermark"], shown["stop_price"]) == (51000, 50500)
        await market.at(51_200)
        await trader.until_value(exit_id, watermark=51200)
        await market.at(50_700)

        order = await trader.until_order(exit_id, "filled")
        assert (order["stop_price"], order["watermark"], order["trigger_price"]) == (50700, 51200, 50700)
        assert (order["activated_sequence"], order["triggered_leg"]) == (began, "trailing")

    async def test_one_that_begins_and_fires_at_once_tells_the_same(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(**TRAILING)
        (exit_id,) = opened["exit_order_ids"]

        sequence = await market.quote(("51199.50", "51200.50"), ("50699.50", "50700.50"))

        order = await trader.until_order(exit_id, "filled")
        assert (order["stop_price"], order["watermark"], order["trigger_sequence"]) == (50700, 51200, sequence)
        settled = await trader.until_value(exit_id, activated_sequence=sequence - 1)
        assert settled["status"] == "filled"

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({**TRAILING, "activation_price": 50000}, "ACTIVATION_WRONG_SIDE"),
            ({**TRAILING, "direction": False}, "ACTIVATION_WRONG_SIDE"),
            ({**TRAILING, "activation_price": "51000.001"}, "TOO_MANY_DECIMALS"),
            ({"order_type": "TRAILING_STOP", "activation_price": 51000}, "MISSING_FIELD"),
            ({"stop_price": 48000, "activation_price": 51000}, "CONFLICTING_FIELDS"),
            ({"activation_price": 51000}, "CONFLICTING_FIELDS"),
        ],
    )
    async def test_an_activation_that_makes_no_sense_is_refused(
        self, trader: Trader, fields: dict[str, Any], code: str
    ) -> None:
        refusal(await trader.ask_open(**fields), 400, code)

    async def test_it_is_attached_amended_and_taken_away(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open()
        answer = await trader.send("POST", "/orders", {"trade_id": opened["trade_id"], **TRAILING})
        assert answer.status_code == 201, answer.text
        exit_id = answer.json()["id"]

        moved = await trader.send("PATCH", f"/orders/{exit_id}", {"activation_price": 52000})
        assert (moved.json()["activation_price"], moved.json()["stop_price"]) == (52000, None)
        other = await trader.send("PATCH", f"/orders/{exit_id}", {"trailing_stop_percentage": 1})
        assert (other.json()["activation_price"], other.json()["trailing_stop_distance"]) == (52000, None)
        refusal(
            await trader.send("PATCH", f"/orders/{exit_id}", {"activation_price": 49000}), 400, "ACTIVATION_WRONG_SIDE"
        )
        await market.at(51_500)
        removed = await trader.send("PATCH", f"/orders/{exit_id}", {"activation_price": None})
        assert (removed.json()["activation_price"], removed.json()["stop_price"]) == (None, 50985)

    async def test_a_stop_that_has_begun_stays_so_when_its_distance_is_amended(
        self, trader: Trader, market: HandMarket
    ) -> None:
        opened = await trader.open(**TRAILING)
        (exit_id,) = opened["exit_order_ids"]
        began = await market.at(51_000)
        await trader.until_value(exit_id, activated_sequence=began)
        await market.at(50_900)

        amended = await trader.send("PATCH", f"/orders/{exit_id}", {"trailing_stop_distance": 300})

        assert (amended.json()["watermark"], amended.json()["stop_price"]) == (50900, 50600)
        await market.at(50_600)
        assert (await trader.until_order(exit_id, "filled"))["watermark"] == 50900


class TestTriggerBy:
    @pytest.mark.parametrize(("is_long", "quote"), [(True, ("48000", "48001")), (False, ("51999", "52000"))])
    async def test_an_exit_by_the_exit_price_watches_what_it_would_be_closed_at(
        self, trader: Trader, market: HandMarket, is_long: bool, quote: tuple[str, str]
    ) -> None:
        stop = 48000 if is_long else 52000
        fields = {"direction": is_long, "order_type": "STOP_LOSS", "stop_price": stop}
        opened = await trader.open(**fields, trigger_by="exit")
        witness = await trader.open(**fields)
        (exit_id,) = opened["exit_order_ids"]
        assert (await trader.order(exit_id))["trigger_by"] == "exit"

        await market.quote(quote)

        order = await trader.until_order(exit_id, "filled")
        assert (order["trigger_price"], order["average_price"]) == (stop, stop)
        assert (await trader.order(witness["exit_order_ids"][0]))["status"] == "pending"

    @pytest.mark.parametrize("is_long", [True, False])
    async def test_a_trailing_stop_by_the_exit_price_begins_at_that_of_its_fill(
        self, trader: Trader, is_long: bool
    ) -> None:
        opened = await trader.open(
            direction=is_long, order_type="TRAILING_STOP", trailing_stop_distance=100, trigger_by="exit"
        )

        shown = await trader.order(opened["exit_order_ids"][0])
        assert (shown["watermark"], shown["stop_price"]) == ((49999.5, 49899.5) if is_long else (50000.5, 50100.5))

    async def test_a_market_without_a_last_price_refuses_to_watch_it(self, trader: Trader) -> None:
        answer = await trader.ask_open(stop_price=48000, trigger_by="last")
        assert refusal(answer, 400, "TRIGGER_PRICE_UNKNOWN")["trigger_by"] == "last"
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        (exit_id,) = opened["exit_order_ids"]
        refusal(await trader.send("PATCH", f"/orders/{exit_id}", {"trigger_by": "last"}), 400, "TRIGGER_PRICE_UNKNOWN")
        refusal(await trader.ask_open(trigger_by="exit"), 400, "CONFLICTING_FIELDS")
        refusal(await trader.ask_open(stop_price=48000, trigger_by="index"), 400, "VALIDATION_ERROR")

    async def test_an_exit_by_the_last_price_waits_for_a_trade(self, trader: Trader, market: HandMarket) -> None:
        await market.quote(("149.50", "150.50", "150.20"), symbol="SOLUSDT")
        opened = await trader.open(asset="SOL", stop_price=140, trailing_stop_distance=9, trigger_by="last")
        stop_id, trailing_id = opened["exit_order_ids"]
        assert (await trader.order(trailing_id))["watermark"] == 150.2
        # By the last price 140.10 is no stop that would fire at once, whatever the mark says.
        await market.quote(("139.00", "139.20"), symbol="SOLUSDT")
        wrong = await trader.send("PATCH", f"/orders/{stop_id}", {"stop_price": "150.20"})
        assert refusal(wrong, 400, "STOP_WRONG_SIDE")["reference_price"] == 150.2
        assert (await trader.order(stop_id))["status"] == "pending"

        await market.quote(("139.00", "139.20", "141.20"), symbol="SOLUSDT")

        order = await trader.until_order(trailing_id, "filled")
        assert (order["trigger_price"], order["stop_price"]) == (141.2, 141.2)


class TestPriceProtect:
    async def test_a_protected_exit_passes_over_a_price_far_from_the_last_trade(
        self, trader: Trader, market: HandMarket
    ) -> None:
        await market.quote(("2999.50", "3000.50", "3000"), symbol="ETHUSDT")
        fields = {"asset": "ETH", "leverage": 2, "order_type": "STOP_LOSS", "stop_price": 2800}
        opened = await trader.open(**fields, price_protect=True)
        witness = await trader.open(**fields)
        (exit_id,) = opened["exit_order_ids"]
        assert (await trader.order(exit_id))["price_protect"] is True

        await market.quote(("2699.50", "2700.50"), ("2999.50", "3000.50"), symbol="ETHUSDT")

        await trader.until_trade(witness, "closed")
        assert (await trader.order(exit_id))["status"] == "pending"
        await market.quote(("2699.50", "2700.50", "2750"), symbol="ETHUSDT")
        assert (await trader.until_order(exit_id, "filled"))["trigger_price"] == 2700

    async def test_a_protected_trailing_stop_starts_at_the_last_price_that_is_believed(
        self, trader: Trader, market: HandMarket
    ) -> None:
        await market.quote(("2999.50", "3000.50", "3000"), ("3299.50", "3300.50"), symbol="ETHUSDT")

        opened = await trader.open(
            asset="ETH", leverage=2, order_type="TRAILING_STOP", trailing_stop_distance=50, price_protect=True
        )

        shown = await trader.order(opened["exit_order_ids"][0])
        assert (shown["watermark"], shown["stop_price"]) == (3000, 2950)
        refusal(await trader.ask_open(price_protect=True), 400, "CONFLICTING_FIELDS")
