"""Questions about orders."""

from app.domain.enums import OrderStatus
from app.domain.lifecycle import ORDER_MOVES
from app.models.trading import Order
from app.repositories.base import LifecycleRepository


class OrderRepository(LifecycleRepository[Order, OrderStatus]):
    """Questions about orders; every one about a user's names the user."""

    model = Order
    moves = ORDER_MOVES
