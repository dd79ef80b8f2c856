"""Verify a webhook of MarqetFi with Python's standard library. Try it on one: verify_webhook.py HEADERS.json BODY

WEBHOOK_SECRET holds the endpoint's secret. HEADERS.json is an object of the request's headers, BODY the file of its
raw body. It prints the event and exits 0, or says what is wrong and exits 1.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path

TOLERANCE_SECONDS = 300
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def verify(headers: dict[str, str], body: bytes, secret: str) -> dict:
    """The event of a request; ValueError where it is not ours, or not of the last five minutes."""
    given = {name.lower(): value for name, value in headers.items()}
    for name in HEADERS:
        if not given.get(name):
            raise ValueError(f"the request has no header {name}")
    message_id, timestamp, signatures = (given[name] for name in HEADERS)
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise ValueError("the request is too old, or a clock is wrong")
    prefix = "whsec_"
    key = base64.b64decode(secret[len(prefix) :]) if secret.startswith(prefix) else secret.encode()
    if not key:
        raise ValueError("the secret is empty")
    # The bytes as they came: JSON that was parsed and written again is another text.
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    # While a secret is being rotated there are two signatures: one that fits is enough.
    if not any(hmac.compare_digest(one.encode(), expected) for one in signatures.split()):
        raise ValueError("the signature does not match")
    return json.loads(body)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("give two files: HEADERS.json BODY")
    try:
        sent = json.loads(Path(sys.argv[1]).read_text())
        event = verify(sent, Path(sys.argv[2]).read_bytes(), os.environ.get("WEBHOOK_SECRET", ""))
    except (OSError, ValueError) as error:
        sys.exit(f"refused: {error}")
    print(event["event_type"], event["data"]["sequence"])
