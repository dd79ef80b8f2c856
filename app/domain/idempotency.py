"""The key under which a request has its effect once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An Idempotency-Key, and what its request asked: a digest of method, path, query and body.

    Whatever a run writes under its key is held against the digest: the key may meanwhile have been given up, and taken
    for another request.
    """

    key: str
    fingerprint: str
