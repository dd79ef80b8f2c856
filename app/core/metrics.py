"""What the process counts about itself, in Prometheus' terms; labels never hold what a user typed."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "HTTP_DURATION", "HTTP_REQUESTS", "RATE_LIMITED", "exposition"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ["route", "method", "status"])
HTTP_DURATION = Histogram("http_request_duration_seconds", "Time to the last byte", ["route"], buckets=BUCKETS)
CACHE_DEGRADED = Counter("cache_degraded_total", "Calls of the cache that an outage left undone", ["operation"])
RATE_LIMIT_DEGRADED = Counter("ratelimit_degraded_total", "Requests that only this process's own buckets limited")
BROADCASTS_DROPPED = Counter("broadcasts_dropped_total", "Messages that did not reach the other processes")
RATE_LIMITED = Counter("ratelimit_rejected_total", "Requests refused by a rate limit", ["policy"])
PROVIDER_REQUESTS = Counter("provider_requests_total", "Calls of outside services", ["provider", "outcome"])
PROVIDER_DURATION = Histogram("provider_duration_seconds", "Time of calls of outside services", ["provider"])
INVARIANT_VIOLATIONS = Gauge("invariant_violations", "Rows that break an invariant of the books", ["name"])
SETTLEMENT_PROBLEMS = Counter(
    "settlement_problems_total", "Effects that settlement could not book, or found held by another", ["kind"]
)
INTENTS_UNKNOWN = Gauge("intents_unknown", "Effects on venues whose outcome is unknown for over a minute")

ENGINES_MISSING = Gauge("order_engines_missing", "Venues whose order engine's lease nobody holds")
CHECKPOINTS_STANDING = Gauge("order_engine_pairs_standing", "Pairs whose checkpoint stands still while prices come")
CONVERSIONS_OVERDUE = Gauge("conversions_overdue", "Deposits and swaps without an end for too long", ["kind"])
JOBS = Counter("jobs_total", "Jobs of the queue", ["job", "outcome"])
JOBS_DROPPED = Counter("jobs_dropped_total", "Jobs that could not be queued; sweeps do their work later", ["job"])
WEBHOOK_ATTEMPTS = Counter("webhook_attempts_total", "Attempts at webhooks", ["outcome"])
WEBHOOKS_DISABLED = Counter("webhooks_disabled_total", "Endpoints that were switched off", ["reason"])


def exposition() -> bytes:
    """Every figure in Prometheus' text format."""
    return generate_latest()
