"""Every route of version 1, under /api/v1."""

from fastapi import APIRouter

from app.api.routing import MarqetRoute
from app.api.v1 import analytics, limits
from app.api.v1.admin import trading_states
from app.api.v1.auth.email import email
from app.api.v1.auth.sessions import sessions
from app.api.v1.events import events
from app.api.v1.prices import prices
from app.api.v1.trading import cancel_all_after, orders, pairs, positions, routing, trades
from app.api.v1.webhooks import deliveries, endpoints

api = APIRouter(prefix="/api/v1", route_class=MarqetRoute)
# Routes are tried in this order: the busiest first.
api.include_router(prices.routes)
api.include_router(email)
api.include_router(sessions)
api.include_router(trades.routes)
api.include_router(orders.routes)
api.include_router(positions.routes)
api.include_router(pairs.routes)
api.include_router(routing.routes)
api.include_router(events)
api.include_router(cancel_all_after.routes)
api.include_router(endpoints.routes)
api.include_router(deliveries.routes)
api.include_router(analytics.routes)
api.include_router(limits.routes)
api.include_router(trading_states.routes)
