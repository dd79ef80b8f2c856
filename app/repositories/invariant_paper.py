"""The invariants of the paper venue's books, and of ours against them."""

from app.domain.invariants import InvariantKind
from app.repositories.invariant_queries import Invariant

PAPER_WORDS = {
    "is_in_flight": """
        EXISTS (SELECT FROM intents i WHERE i.venue_account_id = v.id AND i.pair_id = p.pair_id
            AND i.kind <> 'cancel' AND i.status IN ('new', 'sent'))""",
    "with_owner": """
        JOIN paper_accounts a ON a.id = p.account_id
        JOIN venue_accounts v ON v.user_id = a.user_id AND v.venue = 'paper'""",
    "ours": """
        coalesce((SELECT sum(s.size) FROM trades s WHERE s.venue_account_id = v.id
            AND s.venue_trade_index = p.id::text AND s.status IN ('open', 'closing')), 0)""",
}

PAPER = (
    Invariant(
        "ledger_is_zero",
        InvariantKind.ALWAYS,
        "bookings of the paper ledger that do not sum to zero",
        """SELECT l.booking AS id FROM paper_ledger l WHERE l.booking > (SELECT max(id) FROM paper_ledger) - {latest}
            GROUP BY l.booking HAVING sum(l.amount) <> 0""",
    ),
    Invariant(
        "paper_accounts_agree",
        InvariantKind.ALWAYS,
        "paper accounts that differ from their ledger entries, or from the margin in use",
        """SELECT a.id FROM paper_accounts a
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(l.amount) FILTER (WHERE l.account = 'balance'), 0) AS balance,
                    coalesce(sum(l.amount) FILTER (WHERE l.account = 'margin'), 0) AS margin
                FROM paper_ledger l WHERE l.account_id = a.id
            ) AS entries
            CROSS JOIN LATERAL (
                SELECT coalesce((SELECT sum(p.margin) FROM paper_positions p WHERE p.account_id = a.id), 0)
                    + coalesce((SELECT sum(o.reserved) FROM paper_orders o WHERE o.account_id = a.id), 0) AS margin
            ) AS in_use
            WHERE a.id IN (SELECT l.account_id FROM paper_ledger l
                    WHERE l.booking > (SELECT max(id) FROM paper_ledger) - {latest})
                AND (a.balance <> entries.balance OR a.margin <> entries.margin OR a.margin <> in_use.margin)""",
    ),
    Invariant(
        "paper_executed_once",
        InvariantKind.ALWAYS,
        "effects that are booked as carried out, of which the paper venue knows nothing",
        """SELECT i.id FROM intents i JOIN trades t ON t.id = i.trade_id
            LEFT JOIN paper_orders o ON o.client_id = i.id
            WHERE {recent} AND i.provider = 'paper' AND i.kind <> 'cancel' AND i.status = 'done'
                AND o.status IS DISTINCT FROM 'filled'""",
    ),
    Invariant(
        "paper_fills_are_booked",
        InvariantKind.SETTLED,
        "orders that the paper venue has filled, and that we have not booked",
        """SELECT o.client_id AS id FROM paper_orders o LEFT JOIN intents i ON i.id = o.client_id
            WHERE o.id > (SELECT max(id) FROM paper_orders) - {latest} AND o.client_id > 0 AND o.status = 'filled'
                AND o.updated_at < clock_timestamp() - CAST(:grace AS interval)
                AND i.status IS DISTINCT FROM 'done' AND (i.id IS NULL OR i.status NOT IN ('new', 'sent'))""",
    ),
    Invariant(
        "paper_positions_agree",
        InvariantKind.SETTLED,
        "positions of the paper venue that hold more or less than our trades say",
        """SELECT p.id FROM paper_positions p {with_owner}
            WHERE (p.id > (SELECT max(id) FROM paper_positions) - {latest}
                    OR p.id IN (SELECT t.venue_trade_index::bigint FROM trades t WHERE {recent}
                        AND t.provider = 'paper' AND t.venue_trade_index IS NOT NULL))
                AND {ours} <> p.size AND NOT {is_in_flight}
                AND p.updated_at < clock_timestamp() - CAST(:grace AS interval)""",
    ),
    Invariant(
        "paper_positions_exist",
        InvariantKind.ALWAYS,
        "open trades whose position the paper venue never had",
        """SELECT t.id FROM trades t LEFT JOIN paper_positions p ON p.id = t.venue_trade_index::bigint
            WHERE {recent} AND t.provider = 'paper' AND t.status IN ('open', 'closing') AND p.id IS NULL""",
    ),
)
