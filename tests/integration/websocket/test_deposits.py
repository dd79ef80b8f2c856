"""The deposits channel: deposits and their swaps, as whoever moves them writes it down."""

from collections.abc import Mapping
from decimal import Decimal

from app.domain.enums import DepositStatus, SwapStatus
from app.domain.events import EventType, deposit_event
from app.models.deposit import Deposit, TokenSwap
from app.repositories.unit_of_work import UnitOfWorkFactory
from tests.factories import Person
from tests.integration.websocket.client import Frame, Socket, open_socket
from tests.integration.websocket.market import Desk
from tests.servers import RunningServer


async def new_deposit(uow: UnitOfWorkFactory, person: Person, **values: object) -> Deposit:
    """A deposit of 1,000 DAI on Polygon that is expected, with its event."""
    base: dict[str, object] = {
        "user_id": person.id,
        "token_address": "0x8f3cf7ad23cd3cadbd9735aff958023239c6a063",
        "token_symbol": "DAI",
        "chain": "polygon",
        "amount": Decimal(1000),
        "status": DepositStatus.PENDING,
        "provider": "lighter",
    }
    deposit = Deposit(**base | values)
    async with uow() as work:
        work.session.add(deposit)
        await work.session.flush()
        work.emit(deposit_event(EventType.DEPOSIT_CREATED, deposit))
    return deposit


async def new_swap(uow: UnitOfWorkFactory, deposit: Deposit, **values: object) -> TokenSwap:
    """A swap of a deposit that nobody has begun."""
    base: dict[str, object] = {
        "deposit_id": deposit.id,
        "from_token": deposit.token_symbol,
        "to_token": "USDC",
        "from_chain": deposit.chain,
        "to_chain": "arbitrum",
        "amount": deposit.amount,
        "swap_provider": "lifi",
        "swap_status": SwapStatus.PENDING,
    }
    swap = TokenSwap(**base | values)
    async with uow() as work:
        work.session.add(swap)
        await work.session.flush()
    return swap


async def advance(
    uow: UnitOfWorkFactory,
    kind: EventType,
    deposit: Deposit,
    swap: TokenSwap | None = None,
    *,
    of_deposit: Mapping[str, object] | None = None,
    of_swap: Mapping[str, object] | None = None,
) -> None:
    """Change rows and tell of it, in one transaction."""
    async with uow() as work:
        for row, changes in ((deposit, of_deposit), (swap, of_swap)):
            if row is not None:
                work.session.add(row)
                for name, value in (changes or {}).items():
                    setattr(row, name, value)
        await work.session.flush()
        work.emit(deposit_event(kind, deposit, swap))


async def subscribed(socket: Socket, **data: object) -> tuple[Frame, list[Frame]]:
    """The answer to a subscription, and what was told at once."""
    answer = await socket.ask(type="subscribe", channel="deposits", data=data)
    assert answer["type"] == "subscribed", answer
    return answer["data"], await socket.settle()


def told(frame: Frame) -> tuple[object, ...]:
    """What an app shows of a deposit."""
    data = frame["data"]
    return data["deposit_id"], data["status"], data["swap_status"], data["swap_progress"]


async def convert(desk: Desk, person: Person) -> Deposit:
    """A deposit from its beginning to its end; four events."""
    deposit = await new_deposit(desk.uow, person)
    arrived = {"status": DepositStatus.PROCESSING, "stage": "swapping", "transaction_hash": f"0x{deposit.id:064x}"}
    await advance(desk.uow, EventType.DEPOSIT_PROCESSING, deposit, of_deposit=arrived)
    swap = await new_swap(desk.uow, deposit)
    sent = {"swap_status": SwapStatus.PROCESSING, "estimated_output": Decimal("998.5")}
    await advance(desk.uow, EventType.SWAP_PROCESSING, deposit, swap, of_swap=sent)
    done = {"swap_status": SwapStatus.COMPLETED, "actual_output": Decimal("998.412345")}
    await advance(
        desk.uow,
        EventType.DEPOSIT_COMPLETED,
        deposit,
        swap,
        of_deposit={"status": DepositStatus.COMPLETED},
        of_swap=done,
    )
    return deposit


async def test_each_step_of_a_conversion_is_told(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        assert await subscribed(socket) == ({"sequence": 0}, [])

        deposit = await convert(desk, person)

        frames = [await socket.receive() for _ in range(4)]
        assert {(frame["type"], frame["channel"]) for frame in frames} == {("deposit_update", "deposits")}
        assert [(frame["sequence"], frame["data"]["event"], *told(frame)) for frame in frames] == [
            (1, "deposit.created", deposit.id, "pending", None, None),
            (2, "deposit.processing", deposit.id, "processing", None, None),
            (3, "swap.processing", deposit.id, "processing", "processing", 30),
            (4, "deposit.completed", deposit.id, "completed", "completed", 100),
        ]
        assert frames[-1]["data"]["actual_output"] == 998.412345


async def test_a_snapshot_holds_what_has_no_end_with_its_latest_swap(
    server: RunningServer, desk: Desk, person: Person
) -> None:
    await convert(desk, person)
    waiting = await new_deposit(desk.uow, person)
    swapping = await new_deposit(desk.uow, person, status=DepositStatus.PROCESSING, amount=Decimal("0.1"))
    await new_swap(desk.uow, swapping, swap_status=SwapStatus.FAILED, error_message="No route")
    await new_swap(desk.uow, swapping)
    async with open_socket(server, token=person.access_token) as socket:
        state, snapshot = await subscribed(socket)

        assert state == {"sequence": 6}
        assert all(frame["snapshot"] and "sequence" not in frame for frame in snapshot)
        assert [told(frame) for frame in snapshot] == [
            (waiting.id, "pending", None, None),
            (swapping.id, "processing", "pending", 10),
        ]
        assert (snapshot[1]["data"]["amount"], snapshot[1]["data"]["error_message"]) == (0.1, None)
        assert snapshot[1]["data"]["event"] is None


async def test_nobody_is_told_of_anothers_deposits_nor_of_trades(
    server: RunningServer, desk: Desk, person: Person, other_user: Person
) -> None:
    theirs = await new_deposit(desk.uow, other_user)
    async with open_socket(server, token=person.access_token) as socket:
        assert await subscribed(socket) == ({"sequence": 0}, [])
        await advance(desk.uow, EventType.DEPOSIT_FAILED, theirs, of_deposit={"status": DepositStatus.FAILED})
        await desk.open_trade(person.id)
        mine = await new_deposit(desk.uow, person)
        frame = await socket.receive()
        assert (frame["sequence"], frame["data"]["deposit_id"]) == (4, mine.id)


async def test_a_client_resumes_where_it_was(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await subscribed(socket)
        await new_deposit(desk.uow, person)
        seen = (await socket.receive())["sequence"]
    await desk.note(person.id)
    await convert(desk, person)
    async with open_socket(server, token=person.access_token) as socket:
        state, missed = await subscribed(socket, since=seen)
        assert state == {"sequence": 6, "recovered": True}
        assert [frame["sequence"] for frame in missed] == [3, 4, 5, 6]
        assert "snapshot" not in missed[0]
        state, snapshot = await subscribed(socket, since=99)
        assert state == {"sequence": 6, "recovered": False}
        assert [frame["data"]["status"] for frame in snapshot] == ["pending"]


async def test_what_is_unsubscribed_is_not_heard_of_again(server: RunningServer, desk: Desk, person: Person) -> None:
    async with open_socket(server, token=person.access_token) as socket:
        await subscribed(socket)
        assert (await socket.ask(type="unsubscribe", channel="deposits"))["type"] == "unsubscribed"
        await new_deposit(desk.uow, person)
        await subscribed(socket, since=1)
        assert [frame["type"] for frame in socket.seen if frame["type"] == "deposit_update"] == []
