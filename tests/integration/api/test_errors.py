"""Every failure has the one envelope, an id, and tells nothing that is not the caller's business."""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.enums import FeatureAccessLevel
from tests.conftest import MakeSettings
from tests.factories import Person
from tests.servers import RunningServer

GENERATED = re.compile(r"req_[a-z2-7]{26}")


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(
        rate_limit_trade=3,
        rate_limit_register=2,
        rate_limit_refresh=2,
        cors_origins="https://app.example",
        trusted_hosts="127.0.0.1,*.example.com",
    )


def checked(answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    """The details of an error answer that is as it must be."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"code", "message", "details", "timestamp", "request_id"}
    assert error["code"] == code
    assert error["timestamp"].endswith("Z")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "canary" not in answer.text
    details: dict[str, object] = error["details"]
    return details


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/health/", 404, "NOT_FOUND"),
        ("GET", "//health", 404, "NOT_FOUND"),
        ("GET", "/api/v1/../../etc/passwd", 404, "NOT_FOUND"),
        ("GET", "/%00", 404, "NOT_FOUND"),
        ("GET", "/" + "a" * 7000, 404, "NOT_FOUND"),
        ("POST", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/auth/login", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/probe/fault", 500, "INTERNAL_ERROR"),
        ("GET", "/probe/broken", 500, "INTERNAL_ERROR"),
        ("GET", "/probe/database", 503, "SERVICE_UNAVAILABLE"),
        ("GET", "/probe/full", 503, "SERVICE_UNAVAILABLE"),
        ("GET", "/probe/provider", 502, "TRADE_EXECUTION_FAILED"),
    ],
)
async def test_every_failure_has_the_envelope(
    probe_client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await probe_client.request(method, path)

    checked(answer, status, code)
    assert GENERATED.fullmatch(answer.headers["x-request-id"])
    if status == 405:
        assert answer.headers["allow"]
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1


async def test_the_documented_example_is_answered_as_documented(probe_client: httpx2.AsyncClient) -> None:
    error = (await probe_client.get("/probe/provider")).json()["error"]

    assert error["message"] == "Failed to execute trade"
    assert error["details"] == {"provider": "ostium", "reason": "Insufficient liquidity"}


@pytest.mark.parametrize("size", [65537, 2_000_000])
async def test_a_large_body_is_refused_announced_or_not(probe_client: httpx2.AsyncClient, size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 50_000):
            yield b"x" * min(50_000, size - start)

    for content in (b"x" * size, chunks()):
        answer = await probe_client.post(
            "/api/v1/auth/login", content=content, headers={"Content-Type": "application/json"}
        )
        assert checked(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": 65536}
    assert (await probe_client.get("/health/live")).status_code == 200


async def test_many_wrong_fields_are_not_all_told_and_long_names_are_cut(probe_client: httpx2.AsyncClient) -> None:
    body = {f"{number}\n" + "x" * 500: 1 for number in range(100)}
    answer = await probe_client.post("/api/v1/auth/login", json=body)

    errors = checked(answer, 400, "VALIDATION_ERROR")["errors"]
    assert isinstance(errors, list)
    assert len(errors) == 20
    assert max(len(error["field"]) for error in errors) < 80
    assert len(answer.content) < 5000


class TestRequestId:
    async def test_a_fitting_one_is_kept(self, probe_client: httpx2.AsyncClient) -> None:
        for given in ("abcdefgh", "A.b_c-9" * 9):
            answer = await probe_client.get("/health/live", headers={"X-Request-ID": given})
            assert answer.headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["short", "x" * 65, "with space", "new%0aline", "{0.__class__}", "ключключ"])
    async def test_any_other_is_replaced(self, probe_client: httpx2.AsyncClient, given: str) -> None:
        answer = await probe_client.get("/health/live", headers={b"X-Request-ID": given.encode()})
        assert GENERATED.fullmatch(answer.headers["x-request-id"])


class TestHeaders:
    async def test_every_answer_is_safe_to_show(self, probe_client: httpx2.AsyncClient) -> None:
        for path in ("/health", "/nope", "/probe/fault", "/probe/raw"):
            headers = (await probe_client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers

    async def test_the_documentation_may_load_its_viewer(self, probe_client: httpx2.AsyncClient) -> None:
        answer = await probe_client.get("/docs")
        assert answer.status_code == 200
        assert "cdn.jsdelivr.net" in answer.headers["content-security-policy"]

    async def test_a_listed_origin_may_read_answers_and_errors(self, probe_client: httpx2.AsyncClient) -> None:
        for path in ("/health", "/probe/fault", "/nope"):
            headers = (await probe_client.get(path, headers={"Origin": "https://app.example"})).headers
            assert headers["access-control-allow-origin"] == "https://app.example"
            assert "X-Request-ID" in headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in headers

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil.example"])
    async def test_another_origin_may_not(self, probe_client: httpx2.AsyncClient, origin: str) -> None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for answer in (
            await probe_client.get("/health", headers={"Origin": origin}),
            await probe_client.options("/api/v1/auth/login", headers=asked),
        ):
            assert answer.status_code in {200, 204}
            assert "access-control-allow-origin" not in answer.headers

    async def test_a_preflight_of_a_listed_origin_is_allowed(self, probe_client: httpx2.AsyncClient) -> None:
        asked = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        answer = await probe_client.options("/api/v1/auth/login", headers=asked)

        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "POST" in answer.headers["access-control-allow-methods"]

    async def test_hosts_that_are_not_ours_are_refused(self, probe_client: httpx2.AsyncClient) -> None:
        for host in ("api.example.com", "127.0.0.1:9999"):
            assert (await probe_client.get("/health/live", headers={"Host": host})).status_code == 200
        for host in ("evil.example", "example.com.evil.example", ""):
            answer = await probe_client.get("/health/live", headers={"Host": host})
            checked(answer, 400, "VALIDATION_ERROR")


class TestRateLimits:
    async def test_a_user_is_limited_and_told_so(
        self, probe_client: httpx2.AsyncClient, user: Person, other_user: Person
    ) -> None:
        answers = [await probe_client.get("/probe/limited", headers=user.headers) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == '"trade";q=3;w=60'
        details = checked(answers[-1], 429, "RATE_LIMITED")
        assert details == {"limit": "trade", "per_minute": 3}
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert (await probe_client.get("/probe/limited", headers=other_user.headers)).status_code == 200

    async def test_who_forges_an_address_is_limited_all_the_same(self, probe_client: httpx2.AsyncClient) -> None:
        statuses = [
            (await probe_client.get("/probe/limited", headers={"X-Real-IP": f"1.2.3.{number}"})).status_code
            for number in range(5)
        ]
        assert statuses == [200, 200, 200, 429, 429]

    @pytest.mark.parametrize("path", ["register", "refresh"])
    async def test_an_address_is_limited_before_its_body_is_judged(
        self, probe_client: httpx2.AsyncClient, path: str
    ) -> None:
        answers = [await probe_client.post(f"/api/v1/auth/{path}", json={}) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [400, 400, 429]
        assert checked(answers[-1], 429, "RATE_LIMITED")["limit"] == path


async def test_a_feature_that_is_not_enabled_is_named(
    probe_client: httpx2.AsyncClient, container: Container, user: Person
) -> None:
    assert (await probe_client.get("/probe/trade", headers=user.headers)).json() == {"id": user.id}
    async with container.uow() as work:
        row = await work.users.get(user.id)
        assert row is not None
        row.feature_access_level = FeatureAccessLevel.READ

    answer = await probe_client.get("/probe/trade", headers=user.headers)
    assert checked(answer, 403, "FEATURE_NOT_ENABLED") == {"feature": "trade"}


async def test_an_answer_that_breaks_off_does_not_look_whole(probe_client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await probe_client.get("/probe/late")
    assert (await probe_client.get("/health/live")).status_code == 200


async def test_who_hangs_up_while_sending_breaks_nothing(
    probe_server: RunningServer, probe_client: httpx2.AsyncClient
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", probe_server.port)
    head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    assert (await probe_client.get("/health/live")).status_code == 200
