"""The frames, messages and events that the documentation shows are such as are published."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.websocket.messages import parse_message
from scripts.doc_blocks import ROOT
from tests.published import check_event, check_frame

BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
NAMED = re.compile(r"details\.([\w.\[\]]+\b)")
SECTION = re.compile(r"\n## WebSocket\n(.*?)\n## ", re.DOTALL)
TEXTS = {
    "README": SECTION.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0],
    "events-and-websocket": (ROOT / "docs/events-and-websocket.md").read_text(encoding="utf-8"),
}


def shown(page: str) -> Iterator[dict[str, Any]]:
    """Every JSON object of a page's blocks, each of which holds one or more."""
    for block in BLOCK.findall(TEXTS[page]):
        text = block.strip()
        while text:
            found, end = json.JSONDecoder().raw_decode(text)
            yield found
            text = text[end:].strip()


FOUND = [pytest.param(found, id=f"{page}-{number}") for page in TEXTS for number, found in enumerate(shown(page))]


@pytest.mark.parametrize("found", FOUND)
def test_what_is_shown_is_what_is_published(found: dict[str, Any]) -> None:
    if "connection_sequence" in found:
        check_frame(json.dumps(found))
    elif "type" in found:
        assert parse_message(json.dumps(found)).type == found["type"]
    for event in found.get("events", []):
        check_event(event)


@pytest.mark.parametrize("found", [each for page in TEXTS for each in shown(page) if each.get("type") == "error"])
def test_what_the_sentence_of_an_error_names_stands_in_its_details(found: dict[str, Any]) -> None:
    (path,) = NAMED.findall(found["data"]["message"])
    place: Any = found["data"]["details"]
    for member in path.split("."):
        place = place[member.removesuffix("[]")]
        place = place[0] if member.endswith("[]") else place
    assert place


def test_frames_messages_and_events_are_shown() -> None:
    kinds = {found.get("type") for page in TEXTS for found in shown(page)}

    assert {"welcome", "subscribe", "subscribed", "price_update", "trade_update", "error"} <= kinds
    assert any("events" in found for page in TEXTS for found in shown(page))
