"""Trading states, caps and dead man's switches, as they are asked for and answered."""

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from app.domain.enums import StateScope, SwitchScope, TradingState
from app.schemas.base import Number, RequestModel, ResponseModel, json_whole

LONGEST_SECONDS = 86_400


class SetTradingStateRequest(RequestModel):
    """What trading is to be allowed, and why."""

    state: TradingState = Field(
        description="reducing: no new entries; halted: nothing is sent", examples=[TradingState.REDUCING]
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] = Field(
        description="For people: it is shown to whoever is refused", examples=["maintenance of the venue"]
    )


class TradingStateResponse(ResponseModel):
    """One state as it was set last."""

    scope: StateScope = Field(description="What it is about", examples=[StateScope.VENUE])
    key: str = Field(description="`all`, a venue's name, a pair's or a user's id", examples=["paper"])
    state: TradingState = Field(description="What trading is allowed", examples=[TradingState.REDUCING])
    reason: str = Field(description="Why, for people", examples=["maintenance of the venue"])
    changed_by: str = Field(description="Who set it: a user by id, or the console", examples=["user 1"])
    updated_at: datetime = Field(description="When it was set, UTC, ISO 8601")


class TradingStateChangeResponse(ResponseModel):
    """One entry of the audit."""

    id: int = Field(description="Grows with every change", examples=[1])
    scope: StateScope = Field(description="What it is about", examples=[StateScope.VENUE])
    key: str = Field(description="`all`, a venue's name, a pair's or a user's id", examples=["paper"])
    old_state: TradingState = Field(description="What was allowed before", examples=[TradingState.ACTIVE])
    new_state: TradingState = Field(description="What was allowed from then on", examples=[TradingState.REDUCING])
    reason: str = Field(description="Why, for people", examples=["maintenance of the venue"])
    changed_by: str = Field(description="Who set it: a user by id, or the console", examples=["user 1"])
    created_at: datetime = Field(description="When it was set, UTC, ISO 8601")


class TradingStateList(ResponseModel):
    """Every state that was ever set; what is not named is active. `changes` are the latest, newest first."""

    states: list[TradingStateResponse] = Field(description="Each state as it was set last")
    changes: list[TradingStateChangeResponse] = Field(description="The latest changes, newest first")


class CancelAllAfterRequest(RequestModel):
    """When to cancel, unless another request of this kind comes before."""

    timeout_seconds: Annotated[int, Field(ge=0, le=LONGEST_SECONDS), BeforeValidator(json_whole)] = Field(
        description="0 disarms", examples=[60]
    )
    scope: SwitchScope = Field(
        default=SwitchScope.ENTRIES,
        description="entries: what rests to open; all: exits too, so that positions stay without protection",
        examples=[SwitchScope.ENTRIES],
    )


class CancelAllAfterResponse(ResponseModel):
    """The caller's switch as it stands."""

    armed: bool = Field(description="Whether it waits to fire", examples=[True])
    fires_at: datetime | None = Field(description="By the database's clock, UTC, ISO 8601; null where it is not armed")
    scope: SwitchScope = Field(description="What it cancels", examples=[SwitchScope.ENTRIES])
    firing: bool = Field(description="Whether it has fired and is not done yet", examples=[False])


class Room(ResponseModel):
    """One cap: the most (null: none), what counts against it now, and what is left of it (null: any)."""

    max: Number | None = Field(
        description="The most that may count against it; null where there is no cap", examples=[200]
    )
    current: Number = Field(description="What counts against it now", examples=[3])
    left: Number | None = Field(description="What may still be added; null where there is no cap", examples=[197])


class VenueRoom(ResponseModel):
    """The caller's caps at one venue, and what may be traded there; `notional` in USDC."""

    venue: str = Field(description="The venue", examples=["paper"])
    state: TradingState = Field(description="The strictest of caller, venue and the whole; a pair may be stricter")
    reason: str | None = Field(description="Why, where it is not active")
    open_trades: Room = Field(description="Trades that are open or asked for")
    open_orders: Room = Field(description="Entries and exits that are live")
    notional: Room = Field(description="What open trades and live entries stand for with their leverage, in USDC")


class RateRoom(ResponseModel):
    """One class of requests: how many a minute (0: any number), and how many the caller has left now."""

    name: str = Field(description="The class of requests", examples=["trade"])
    per_minute: int = Field(description="Requests a minute; 0 is any number", examples=[10])
    remaining: int | None = Field(description="null where there is no limit", examples=[9])
    full_in_seconds: int = Field(description="Until all are there again", examples=[6])


class LimitsResponse(ResponseModel):
    """What is left of every limit of ours."""

    venues: list[VenueRoom] = Field(description="The caps, by venue")
    rate_limits: list[RateRoom] = Field(description="The rate limits, by class of requests")
