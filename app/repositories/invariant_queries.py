"""The invariants of trades, orders, intents and the log: one question each, whose rows are the ids that break it.

Beside WORDS, `{recent}` is a condition on trade `t`, and `{latest}` how many rows of a growing table are looked at; a
full check puts "all" in place of both. `:grace` is how long a word from a venue may be under way.
"""

from dataclasses import dataclass

from app.domain.invariants import InvariantKind

# What the questions have in common, by the name that stands for it in them.
WORDS = {
    "with_fills": """
        CROSS JOIN LATERAL (
            SELECT count(*) AS number,
                coalesce(sum(f.quantity) FILTER (WHERE NOT f.is_close), 0) AS opened,
                coalesce(sum(f.quantity) FILTER (WHERE f.is_close), 0) AS closed,
                coalesce(sum(f.fee), 0) AS fees,
                coalesce(sum(f.pnl), 0) AS pnl
            FROM fills f WHERE f.trade_id = t.id
        ) AS told""",
    "is_open": "t.status IN ('open', 'closing')",
    "is_over": "t.status IN ('closed', 'liquidated', 'cancelled', 'failed')",
    "is_live": "i.status IN ('new', 'sent', 'resting')",
    "entry_lives": """
        EXISTS (SELECT FROM orders e WHERE e.trade_id = t.id AND e.role = 'entry' AND e.status IN
            ('pending', 'submitted', 'unknown', 'partially_filled', 'pending_cancel', 'pending_replace'))""",
    "close_lives": """
        EXISTS (SELECT FROM intents i WHERE i.trade_id = t.id AND i.kind = 'close'
            AND i.status IN ('new', 'sent', 'resting'))""",
}


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must hold, the sentence that says how it is broken, and the question that finds who breaks it."""

    name: str
    kind: InvariantKind
    sentence: str
    sql: str


def _always(name: str, sentence: str, sql: str) -> Invariant:
    return Invariant(name, InvariantKind.ALWAYS, sentence, sql)


def _deadline(name: str, sentence: str, sql: str) -> Invariant:
    return Invariant(name, InvariantKind.DEADLINE, sentence, sql)


TRADES = (
    _always(
        "trade_size",
        "trades whose size is not what filled open less what filled closed",
        "SELECT t.id FROM trades t {with_fills} WHERE {recent} AND t.size <> told.opened - told.closed",
    ),
    _always(
        "not_overclosed",
        "trades that were closed by more than was opened",
        "SELECT t.id FROM trades t {with_fills} WHERE {recent} AND told.closed > told.opened",
    ),
    _always(
        "trade_money",
        "trades whose fees or PnL are not the sums of their fills",
        """SELECT t.id FROM trades t {with_fills}
            WHERE {recent} AND (t.fees <> told.fees OR coalesce(t.pnl, 0) <> told.pnl)""",
    ),
    _always(
        "open_means_size",
        "trades that are open with nothing in them, or over with something left",
        """SELECT t.id FROM trades t
            WHERE {recent} AND ((t.size > 0 AND NOT {is_open})
                OR (t.size = 0 AND {is_open} AND NOT {entry_lives}))""",
    ),
    _always(
        "entry_and_trade",
        "trades that wait for an entry which has ended, or are over while their entry can still fill",
        """SELECT t.id FROM trades t
            WHERE {recent} AND ((t.status IN ('pending', 'submitted') AND NOT {entry_lives})
                OR ({is_over} AND {entry_lives}))""",
    ),
    _always(
        "closing_has_effect",
        "trades that are closing though no close is under way",
        """SELECT t.id FROM trades t
            WHERE {recent} AND t.status = 'closing' AND NOT {close_lives} AND NOT (t.size = 0 AND {entry_lives})""",
    ),
    _always(
        "open_has_no_close",
        "trades that may be closed again while a close of them is under way",
        "SELECT t.id FROM trades t WHERE {recent} AND t.status = 'open' AND {close_lives}",
    ),
    _always(
        "one_closing_effect",
        "trades with two closes under way at once",
        """SELECT t.id FROM trades t JOIN intents i ON i.trade_id = t.id
            WHERE {recent} AND i.kind = 'close' AND {is_live} GROUP BY t.id HAVING count(*) > 1""",
    ),
    _always(
        "position_agrees",
        "trades whose position says another size, side or state, or is missing",
        """SELECT t.id FROM trades t {with_fills} LEFT JOIN positions p ON p.trade_id = t.id
            WHERE {recent} AND ((p.id IS NULL) <> (told.number = 0)
                OR p.size <> t.size OR p.is_open <> (t.size > 0) OR (p.side = 'long') <> t.direction)""",
    ),
)

ORDERS = (
    _always(
        "order_fills",
        "orders whose filled quantity or fee is not the sum of their fills",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            LEFT JOIN LATERAL (
                SELECT sum(f.quantity) AS quantity, sum(f.fee) AS fee FROM fills f WHERE f.order_id = o.id
            ) AS told ON true
            WHERE {recent} AND (o.filled_quantity <> coalesce(told.quantity, 0) OR o.fee <> coalesce(told.fee, 0)
                OR o.filled_quantity > o.quantity)""",
    ),
    _always(
        "filled_means_filled",
        "orders that are filled with something left to fill, or without the effect that filled them",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.status = 'filled' AND (o.filled_quantity <> o.quantity OR NOT EXISTS (
                SELECT FROM intents i WHERE i.order_id = o.id AND i.kind <> 'cancel' AND i.status = 'done'))""",
    ),
    _always(
        "done_means_filled",
        "effects that were carried out for orders of which nothing filled",
        """SELECT i.id FROM intents i JOIN trades t ON t.id = i.trade_id
            WHERE {recent} AND i.kind <> 'cancel' AND i.status = 'done'
                AND NOT EXISTS (SELECT FROM fills f WHERE f.order_id = i.order_id)""",
    ),
    _always(
        "sent_has_effect",
        "orders that are at a venue, or on the way there, though no effect of theirs is under way",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND (o.status IN ('triggered', 'submitted', 'unknown', 'pending_cancel')
                    OR (o.status = 'pending' AND o.role <> 'exit'))
                AND NOT EXISTS (SELECT FROM intents i WHERE i.order_id = o.id AND i.kind <> 'cancel' AND {is_live})""",
    ),
    _always(
        "cancel_has_effect",
        "orders that are being cancelled though no cancel is under way",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.status = 'pending_cancel'
                AND NOT EXISTS (SELECT FROM intents i WHERE i.order_id = o.id AND i.kind = 'cancel' AND {is_live})""",
    ),
    _always(
        "exit_outlives_trade",
        "exits that still wait though their trade is over",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.role = 'exit' AND {is_over} AND o.status IN ('waiting', 'pending', 'triggered')""",
    ),
    _always(
        "exit_is_armed",
        "exits of open trades that no price can fire",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.role = 'exit' AND {is_open} AND (o.status IN ('waiting', 'rejected', 'failed')
                OR (o.status = 'pending' AND (o.armed_sequence IS NULL OR o.armed_price IS NULL)))""",
    ),
    _always(
        "exit_covers_trade",
        "exits that are for more or less than what is open",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.role = 'exit' AND {is_open} AND t.size > 0 AND o.status = 'pending'
                AND o.quantity - o.filled_quantity <> t.size""",
    ),
    _always(
        "exit_facts",
        "exits that fired without a record of why",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.role = 'exit'
                AND (o.status IN ('triggered', 'submitted', 'unknown', 'filled') OR o.latched_sequence IS NOT NULL)
                AND (o.triggered_leg IS NULL OR o.trigger_price IS NULL OR o.trigger_sequence IS NULL
                    OR o.triggered_at IS NULL)""",
    ),
)

EVENTS = (
    _always(
        "event_sequences",
        "users whose events have gaps, or a counter that is not their last event's",
        """SELECT e.user_id AS id FROM events e LEFT JOIN event_counters c ON c.user_id = e.user_id
            WHERE e.id > (SELECT max(id) FROM events) - {latest} GROUP BY e.user_id
            HAVING count(*) <> max(e.sequence) - min(e.sequence) + 1
                OR max(e.sequence) IS DISTINCT FROM max(c.sequence)""",
    ),
    _always(
        "event_counters",
        "users who were promised events that are not there",
        """SELECT c.user_id AS id FROM event_counters c
            WHERE c.user_id IN (SELECT t.user_id FROM trades t WHERE {recent}) AND c.sequence > 0
                AND NOT EXISTS (SELECT FROM events e WHERE e.user_id = c.user_id AND e.sequence = c.sequence)""",
    ),
)

DEADLINES = (
    _deadline(
        "effects_are_looked_after",
        "effects on venues that nobody has looked after for a minute",
        """SELECT i.id FROM intents i WHERE i.status IN ('new', 'sent', 'resting')
            AND coalesce(i.next_run_at, i.updated_at) < clock_timestamp() - interval '60 s'""",
    ),
    _deadline(
        "parts_are_looked_after",
        "orders that filled in part, and of whose rest nobody asks",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.status = 'partially_filled'
                AND o.updated_at < clock_timestamp() - interval '60 s'
                AND NOT EXISTS (SELECT FROM intents i WHERE i.order_id = o.id AND i.kind <> 'cancel' AND {is_live})""",
    ),
    _deadline(
        "unknown_is_reviewed",
        "orders whose outcome is unknown for over 15 minutes and that nobody was asked to review",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE {recent} AND o.status = 'unknown' AND NOT o.needs_review
                AND o.unknown_since < clock_timestamp() - interval '16 min'""",
    ),
    _deadline(
        "latched_is_claimed",
        "exits that fired, and that nobody closes for a minute",
        """SELECT o.id FROM orders o JOIN trades t ON t.id = o.trade_id
            WHERE o.role = 'exit' AND o.status = 'pending' AND o.latched_sequence IS NOT NULL AND t.status = 'open'
                AND coalesce(o.next_run_at, o.updated_at) < clock_timestamp() - interval '60 s'
                AND t.updated_at < clock_timestamp() - interval '60 s'""",
    ),
    _deadline(
        "events_are_sent",
        "events that nobody has handed on for a minute",
        """SELECT e.id FROM events e
            WHERE e.fanned_out_at IS NULL AND e.created_at < clock_timestamp() - interval '60 s'""",
    ),
    _deadline(
        "keys_are_free",
        "users with an Idempotency-Key that is held for longer than any request may run",
        """SELECT k.user_id AS id FROM idempotency_records k
            WHERE k.response_status IS NULL AND k.created_at > clock_timestamp() - interval '1 day'
                AND k.locked_until > clock_timestamp() + interval '10 min'""",
    ),
)
