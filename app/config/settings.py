"""Every setting: from the environment or `.env`, typed, with its default."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.limits import Caps, VenueCaps, parse_caps
from app.domain.routing import VENUES, parse_rules

LEAST_SECRET_LENGTH = 32
# As browsers send it: no path, not even a last slash.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-fA-F:]+\]|[^\s/?#:@*]+)(:[0-9]{1,5})?")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _of_scheme(url: SecretStr | None, *schemes: str) -> SecretStr | None:
    """The url, where it begins with one of the schemes and names a host."""
    if url is None:
        return None
    scheme, _, rest = url.get_secret_value().partition("://")
    if scheme not in schemes or not rest:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return url


type Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]

type Secrets = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split)]
type Cap = Annotated[int, Field(ge=0, le=10**15)]
type PerMinute = Annotated[int, Field(ge=0, le=1_000_000)]


class Settings(BaseSettings):
    """Settings of one process; `.env.example` documents each."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        frozen=True,
    )

    environment: Literal["development", "test", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    marqetfi_data_dir: Path = Path(".data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["auto", "pretty", "json"] = "auto"

    secret_key: SecretStr | None = None
    database_url: SecretStr | None = None
    database_replica_url: SecretStr | None = None
    database_pool_size: int = Field(default=20, ge=1, le=500)
    database_max_overflow: int = Field(default=10, ge=0, le=500)
    database_pool_timeout: float = Field(default=30.0, gt=0)

    redis_url: SecretStr | None = None
    redis_prefix: str = Field(default="", max_length=64)
    broker_url: SecretStr | None = None
    broker_queue: str = Field(default="marqetfi", pattern=r"[A-Za-z0-9._-]{1,64}")
    worker_jobs: int = Field(default=20, ge=1, le=500)

    password_memory_kib: int = Field(default=19456, ge=8)
    password_time_cost: int = Field(default=2, ge=1)
    encryption_keys: Secrets = []
    encryption_salt: str = "marqetfi"
    access_token_seconds: int = Field(default=1800, ge=60)
    refresh_token_days: int = Field(default=30, ge=1)
    refresh_token_max_days: int = Field(default=90, ge=1)
    cors_origins: Names = []
    trusted_hosts: Names = ["*"]
    max_body_bytes: int = Field(default=65536, ge=1024)
    forwarded_allow_ips: Names = ["127.0.0.1", "::1"]
    metrics_enabled: bool = True
    metrics_token: SecretStr | None = None
    invariant_check_seconds: float = Field(default=60.0, ge=0)

    rate_limit_price: PerMinute = 100
    rate_limit_trade: PerMinute = 10
    rate_limit_close: PerMinute = 30
    rate_limit_deposit: PerMinute = 5
    rate_limit_admin: PerMinute = 50
    rate_limit_login: PerMinute = 10
    rate_limit_register: PerMinute = 5
    rate_limit_refresh: PerMinute = 30
    rate_limit_ticket: PerMinute = 30
    rate_limit_default: PerMinute = 120

    websocket_connections_per_user: int = Field(default=10, ge=1)
    websocket_pairs: int = Field(default=200, ge=1)
    websocket_messages_per_second: float = Field(default=10.0, gt=0)
    websocket_price_ms: int = Field(default=100, ge=0, le=60_000)

    webhook_allow_local: bool = False
    webhook_timeout_seconds: float = Field(default=10.0, gt=0, le=60)
    webhook_concurrency: int = Field(default=200, ge=4, le=5000)
    webhook_concurrency_per_endpoint: int = Field(default=4, ge=1, le=100)
    webhook_endpoints_per_user: int = Field(default=10, ge=1, le=1000)
    webhook_history_days: int = Field(default=30, ge=4, le=3650)

    default_venue: str = "paper"
    asset_venues: Names = []
    category_venues: Names = []
    trade_wait_seconds: float = Field(default=3.0, ge=0)

    limit_open_trades: Cap = 200
    limit_open_orders: Cap = 1000
    limit_notional: Cap = 0
    venue_limits: Names = []

    paper_starting_balance: Annotated[int, Field(ge=0, le=1_000_000_000)] = 10_000
    paper_feed: Literal["simulated", "replay"] = "simulated"
    paper_seed: int = 1
    paper_simulated_hz: float = Field(default=4.0, gt=0, le=1000)
    paper_replay: Names = []
    paper_replay_speed: float = Field(default=1.0, ge=0.001, le=1_000_000)
    paper_replay_loop: bool = False
    paper_settle_ticks: int = Field(default=0, ge=0, le=1000)
    paper_fill_parts: int = Field(default=1, ge=1, le=100)
    paper_funding_rate: Annotated[Decimal, Field(ge=Decimal("-0.01"), le=Decimal("0.01"))] = Decimal("0.0001")
    paper_funding_seconds: int = Field(default=28_800, ge=0)
    paper_native_exits: bool = False
    paper_netting: bool = False

    faults: Names = []
    faults_seed: int = 0
    venue_faults: Names = []

    @property
    def is_production(self) -> bool:
        """Whether this process serves real users."""
        return self.environment == "production"

    @cached_property
    def rate_limits(self) -> dict[str, int]:
        """Requests per minute of each class; 0 is unlimited."""
        prefix = "rate_limit_"
        return {
            name.removeprefix(prefix): getattr(self, name)
            for name in type(self).model_fields
            if name.startswith(prefix)
        }

    @cached_property
    def caps(self) -> VenueCaps:
        """What one user may have at each venue."""
        default = Caps(self.limit_open_trades, self.limit_open_orders, self.limit_notional)
        return parse_caps(default, self.venue_limits)

    @field_validator("database_url", "database_replica_url")
    @classmethod
    def _asyncpg(cls, url: SecretStr | None) -> SecretStr | None:
        return _of_scheme(url, "postgresql+asyncpg")

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        return _of_scheme(url, "redis", "rediss")

    @field_validator("broker_url")
    @classmethod
    def _amqp(cls, url: SecretStr | None) -> SecretStr | None:
        return _of_scheme(url, "amqp", "amqps")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        if wrong := [origin for origin in origins if origin != "*" and _ORIGIN.fullmatch(origin) is None]:
            raise ValueError(
                f"{', '.join(wrong)} is no origin: write scheme, host and port, such as https://app.example.com"
            )
        return origins

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _proxies(cls, proxies: list[str]) -> list[str]:
        if wrong := [proxy for proxy in proxies if proxy == "*" or proxy.endswith("/0")]:
            raise ValueError(
                f"{', '.join(wrong)} would let every caller choose the address that rate limits count; name the proxies"
            )
        return proxies

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        problems = [*self._routing_problems(), *self._cap_problems(), *self._production_problems()]
        problems += self._process_problems()
        if self.paper_feed == "replay" and not self.paper_replay:
            problems.append("PAPER_FEED=replay needs PAPER_REPLAY=SYMBOL=file.csv[,SYMBOL=file.csv]")
        if self.paper_feed != "replay" and self.paper_replay:
            problems.append("PAPER_REPLAY is played with PAPER_FEED=replay only; set that too, or unset PAPER_REPLAY")
        if problems:
            # One a line: who starts a server hears of all of them at once.
            raise ValueError("\n".join(problems))
        return self

    def _routing_problems(self) -> Iterator[str]:
        try:
            rules = parse_rules(self.default_venue, self.asset_venues, self.category_venues)
        except ValueError as error:
            yield str(error)
            return
        if unknown := rules.venues - VENUES:
            yield f"no venue is called {', '.join(sorted(unknown))}; there is {', '.join(sorted(VENUES))}"

    def _cap_problems(self) -> Iterator[str]:
        try:
            unknown = self.caps.venues.keys() - VENUES
        except ValueError as error:
            yield f"VENUE_LIMITS: {error}"
            return
        if unknown:
            yield f"VENUE_LIMITS: no venue is called {', '.join(sorted(unknown))}; there is {', '.join(sorted(VENUES))}"

    def _process_problems(self) -> Iterator[str]:
        if self.database_url is not None:
            return
        if self.broker_url is not None:
            yield "BROKER_URL needs DATABASE_URL: workers cannot reach the embedded database"
        if self.database_replica_url is not None:
            yield "DATABASE_REPLICA_URL needs DATABASE_URL"

    def _production_problems(self) -> Iterator[str]:
        if not self.is_production:
            return
        if self.database_url is None:
            yield "ENVIRONMENT=production needs DATABASE_URL: the embedded database is for development"
        if self.secret_key is None or len(self.secret_key.get_secret_value()) < LEAST_SECRET_LENGTH:
            yield f"ENVIRONMENT=production needs a SECRET_KEY of at least {LEAST_SECRET_LENGTH} characters"
        if self.faults:
            yield "ENVIRONMENT=production refuses FAULTS"
        if self.venue_faults:
            yield "ENVIRONMENT=production refuses VENUE_FAULTS"
        if self.webhook_allow_local:
            yield "ENVIRONMENT=production refuses WEBHOOK_ALLOW_LOCAL"
        if unlimited := [f"RATE_LIMIT_{name.upper()}=0" for name, limit in self.rate_limits.items() if not limit]:
            yield f"ENVIRONMENT=production refuses {', '.join(unlimited)}: 0 is unlimited"
