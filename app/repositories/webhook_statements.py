"""Statements of the loop that delivers webhooks: it asks them all the time, and making one takes longer than asking it.

Many rows are one array for each column, since a statement is prepared for each number of parameters.
"""

from string import Template

from sqlalchemy import text

# Endpoints with something to send are found by skipping through the index of what is due, and each gives what it has
# room for: neither a long queue of one nor what it has taken costs the others anything.
_DUE = Template("""
    SELECT taken.id, room.id AS endpoint_id, url, secret, secret_previous, previous_until, is_failing
    FROM (SELECT * FROM room WHERE $condition ORDER BY id <= CAST(:${kind}_after AS bigint), id) room
    CROSS JOIN LATERAL (
        SELECT d.id FROM webhook_deliveries d
        WHERE d.webhook_config_id = room.id AND d.status = 'pending' AND d.next_run_at <= clock_timestamp()
          AND (d.lease_until IS NULL OR d.lease_until <= clock_timestamp())
        ORDER BY d.next_run_at, d.id LIMIT GREATEST(room.free, 0) FOR UPDATE SKIP LOCKED
    ) taken
    LIMIT CAST(:${kind}_limit AS integer)
""")
_CLAIM = Template("""
WITH RECURSIVE waiting AS (
    (SELECT webhook_config_id AS id FROM webhook_deliveries
     WHERE status = 'pending' ORDER BY webhook_config_id, next_run_at, id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_config_id FROM webhook_deliveries d
            WHERE d.status = 'pending' AND d.webhook_config_id > w.id
            ORDER BY d.webhook_config_id, d.next_run_at, d.id LIMIT 1)
    FROM waiting w WHERE w.id IS NOT NULL
), room AS (
    SELECT c.id, c.url, c.secret, c.secret_previous, c.previous_until, c.retry_count > 0 AS is_failing,
           CASE WHEN c.paused_until IS NULL THEN CAST(:per_endpoint AS integer) ELSE 1 END - (
               SELECT count(*) FROM webhook_deliveries d
               WHERE d.webhook_config_id = c.id AND d.lease_until > clock_timestamp()
           ) AS free
    FROM waiting w JOIN webhook_configurations c ON c.id = w.id
    WHERE c.is_active AND (c.paused_until IS NULL OR c.paused_until <= clock_timestamp())
), due AS (
    ($well) UNION ALL ($failing)
)
UPDATE webhook_deliveries d
SET lease_until = clock_timestamp() + CAST(:lease AS interval), claimed_by = :holder, attempts = d.attempts + 1
FROM due WHERE d.id = due.id
RETURNING d.id, d.event_id, d.event_type, d.payload, d.attempts, d.attempts_before, due.is_failing,
          due.endpoint_id, due.url, due.secret, due.secret_previous, due.previous_until
""")
CLAIM = text(
    _CLAIM.substitute(
        well=_DUE.substitute(kind="well", condition="NOT is_failing"),
        failing=_DUE.substitute(kind="failing", condition="is_failing"),
    )
)

# Each delivery is looked up by its id, whatever there is to be said of it afterwards.
UNDER_WAY = text("""
WITH locked AS MATERIALIZED (
    SELECT id, attempts, status, lease_until FROM webhook_deliveries
    WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
)
SELECT array_agg(id), array_agg(attempts) FROM locked WHERE status = 'pending' AND lease_until IS NOT NULL
""")
_GIVEN = """
    SELECT * FROM unnest(
        CAST(:id AS bigint[]), CAST(:number AS integer[]), CAST(:status AS varchar[]), CAST(:wait AS interval[]),
        CAST(:url AS varchar[]), CAST(:request_headers AS text[]), CAST(:response_code AS smallint[]),
        CAST(:response_body AS text[]), CAST(:error AS varchar[]), CAST(:duration_ms AS integer[])
    ) AS given(id, number, status, wait, url, request_headers, response_code, response_body, error, duration_ms)
"""
_WRITE = """
settled AS (
    UPDATE webhook_deliveries d
    SET status = given.status, next_run_at = clock_timestamp() + given.wait,
        delivered_at = CASE WHEN given.status = 'delivered' THEN clock_timestamp() END,
        response_code = given.response_code, response_body = given.response_body, last_error = given.error,
        lease_until = NULL, updated_at = clock_timestamp()
    FROM given WHERE d.id = given.id
), attempted AS (
    INSERT INTO webhook_attempts
        (delivery_id, number, url, request_headers, response_code, response_body, error, duration_ms)
    SELECT id, number, url, request_headers, response_code, response_body, error, duration_ms FROM given
)
"""
SETTLE = text(
    Template("WITH given AS ($given), $write SELECT count(*) FROM given").substitute(given=_GIVEN, write=_WRITE)
)
# The count has the endpoints locked first. What a success leaves an endpoint with is what domain.webhooks.Health says.
_SETTLE_TAKEN = Template("""
WITH endpoint AS MATERIALIZED (
    SELECT id, url, is_active FROM webhook_configurations
    WHERE id = ANY(CAST(:endpoint_ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
), locked AS MATERIALIZED (
    SELECT id, webhook_config_id, attempts, status, lease_until FROM webhook_deliveries
    WHERE id = ANY(CAST(:id AS bigint[])) AND (SELECT count(*) FROM endpoint) > 0 ORDER BY id FOR UPDATE
), given AS MATERIALIZED (
    SELECT sent.*, locked.webhook_config_id FROM ($given) sent JOIN locked USING (id)
    WHERE locked.status = 'pending' AND locked.lease_until IS NOT NULL AND locked.attempts = sent.number
), $write, judged AS (
    UPDATE webhook_configurations c
    SET retry_count = CASE WHEN taken.is_there THEN 0 ELSE c.retry_count END,
        failing_since = CASE WHEN taken.is_there THEN NULL ELSE c.failing_since END,
        paused_until = CASE WHEN taken.is_there THEN NULL ELSE c.paused_until END,
        last_delivery_at = clock_timestamp(), updated_at = clock_timestamp()
    FROM (
        SELECT endpoint.id, bool_or(endpoint.is_active AND endpoint.url = given.url) AS is_there
        FROM endpoint JOIN given ON given.webhook_config_id = endpoint.id GROUP BY endpoint.id
    ) taken
    WHERE c.id = taken.id
)
SELECT count(*) FROM given
""")
SETTLE_TAKEN = text(_SETTLE_TAKEN.substitute(given=_GIVEN, write=_WRITE))

HEALTH = text("""
SELECT id, user_id, url, is_active, retry_count, failing_since, paused_until, disabled_at, disabled_reason,
       last_delivery_at, clock_timestamp()
FROM webhook_configurations WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
""")
HELD = text("""
WITH free AS MATERIALIZED (
    SELECT id FROM webhook_configurations
    WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id FROM webhook_configurations WHERE id = ANY(CAST(:ids AS bigint[])) AND id NOT IN (SELECT id FROM free)
""")
WRITE_HEALTH = text("""
UPDATE webhook_configurations c
SET is_active = given.is_active, retry_count = given.retry_count, failing_since = given.failing_since,
    paused_until = given.paused_until, disabled_at = given.disabled_at, disabled_reason = given.disabled_reason,
    last_delivery_at = given.last_delivery_at, updated_at = clock_timestamp()
FROM unnest(
    CAST(:id AS bigint[]), CAST(:is_active AS boolean[]), CAST(:retry_count AS integer[]),
    CAST(:failing_since AS timestamptz[]), CAST(:paused_until AS timestamptz[]), CAST(:disabled_at AS timestamptz[]),
    CAST(:disabled_reason AS varchar[]), CAST(:last_delivery_at AS timestamptz[])
) AS given(id, is_active, retry_count, failing_since, paused_until, disabled_at, disabled_reason, last_delivery_at)
WHERE c.id = given.id
""")
