"""The examples of docs/examples, each given the bytes and headers of real deliveries."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.webhooks.endpoints import SECRET
from tests.integration.webhooks.owner import Owner
from tests.integration.webhooks.receiver import Received, Receiver
from tests.waiting import until

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
PROGRAMS = {"py": sys.executable, "js": "node", "php": "php"}


def program(suffix: str) -> str:
    """What runs an example; where it is not installed the test is left out, in CI it fails."""
    found = shutil.which(PROGRAMS[suffix])
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{PROGRAMS[suffix]} is not installed")
    return found or PROGRAMS[suffix]


def judged(suffix: str, folder: Path, headers: dict[str, str], body: bytes, secret: str) -> tuple[int, str]:
    """The exit code of an example, and what it says."""
    (folder / "headers.json").write_text(json.dumps(headers))
    (folder / "body").write_bytes(body)
    return run(suffix, folder / "headers.json", folder / "body", WEBHOOK_SECRET=secret)


def run(suffix: str, *files: Path, **settings: str) -> tuple[int, str]:
    """The exit code of an example that is given these files, and what it says."""
    done = subprocess.run(
        [program(suffix), EXAMPLES / f"verify_webhook.{suffix}", *files],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


async def sent(owner: Owner, receiver: Receiver, webhook_id: int) -> Received:
    """A test event, as it arrives."""
    before = len(receiver.received)
    await owner.ask("POST", f"/{webhook_id}/test")
    await until(lambda: len(receiver.received) > before)
    return receiver.received[-1]


@pytest.mark.parametrize("suffix", PROGRAMS)
async def test_an_example_takes_what_is_ours_and_nothing_else(
    owner: Owner, receiver: Receiver, tmp_path: Path, suffix: str
) -> None:
    made = await owner.create(receiver.url())
    request = await sent(owner, receiver, made["id"])
    headers = dict(request.headers)
    assert judged(suffix, tmp_path, headers, request.body, made["secret"]) == (0, "webhook.test 1\n")

    wrong = [
        (headers, request.body + b" ", made["secret"]),
        (headers, request.body, SECRET),
        ({**headers, "webhook-id": "evt_0"}, request.body, made["secret"]),
    ]
    for case in wrong:
        assert judged(suffix, tmp_path, *case) == (1, "refused: the signature does not match\n")
    old = {**headers, "webhook-timestamp": "1767614400"}
    code, said = judged(suffix, tmp_path, old, request.body, made["secret"])
    assert (code, said) == (1, "refused: the request is too old, or a clock is wrong\n")


@pytest.mark.parametrize("suffix", PROGRAMS)
async def test_an_example_takes_both_secrets_while_one_is_rotated(
    owner: Owner, receiver: Receiver, tmp_path: Path, suffix: str
) -> None:
    made = await owner.create(receiver.url(), secret=SECRET)
    rotated = (await owner.ask("POST", f"/{made['id']}/rotate-secret", {})).json()
    request = await sent(owner, receiver, made["id"])
    for secret in (SECRET, rotated["secret"]):
        assert judged(suffix, tmp_path, dict(request.headers), request.body, secret) == (0, "webhook.test 1\n")


@pytest.mark.parametrize("suffix", PROGRAMS)
async def test_an_example_says_in_one_sentence_what_is_missing_or_spoilt(
    owner: Owner, receiver: Receiver, tmp_path: Path, suffix: str
) -> None:
    made = await owner.create(receiver.url())
    request = await sent(owner, receiver, made["id"])
    headers = dict(request.headers)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        without = {other: value for other, value in headers.items() if other != name}
        refused = (1, f"refused: the request has no header {name}\n")
        assert judged(suffix, tmp_path, without, request.body, made["secret"]) == refused
    foreign = {**headers, "webhook-signature": "v1,\u00e9\u20ac v1,"}
    refused = (1, "refused: the signature does not match\n")
    assert judged(suffix, tmp_path, foreign, request.body, made["secret"]) == refused
    undated = {**headers, "webhook-timestamp": "yesterday"}
    refused = (1, "refused: the request is too old, or a clock is wrong\n")
    assert judged(suffix, tmp_path, undated, request.body, made["secret"]) == refused
    for secret in ("", "whsec_"):
        refused = (1, "refused: the secret is empty\n")
        assert judged(suffix, tmp_path, headers, request.body, secret) == refused


@pytest.mark.parametrize("suffix", PROGRAMS)
def test_an_example_that_is_given_no_files_says_so(suffix: str, tmp_path: Path) -> None:
    assert run(suffix) == (1, "give two files: HEADERS.json BODY\n")
    code, said = run(suffix, tmp_path / "none.json", tmp_path / "none")
    assert code == 1
    assert said.startswith("refused: ")
    assert "none.json" in said
    assert said.count("\n") == 1
