"""Every table.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "app_configurations",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("config_key", sa.String(length=64), nullable=False),
        sa.Column("config_value", sa.Text(), nullable=False),
        sa.Column("config_type", sa.String(length=8), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("is_encrypted", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "config_type IN ('string', 'int', 'float', 'bool', 'json')",
            name=op.f("ck_app_configurations_config_type_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_configurations")),
        sa.UniqueConstraint("config_key", name=op.f("uq_app_configurations_config_key")),
    )
    op.create_index(op.f("ix_app_configurations_category"), "app_configurations", ["category"], unique=False)
    op.create_table(
        "feed_states",
        sa.Column("venue", sa.String(length=16), nullable=False),
        sa.Column("identity", sa.String(length=80), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("venue", name=op.f("pk_feed_states")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "pairs",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("venue", sa.String(length=16), nullable=False),
        sa.Column("venue_pair_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("base", sa.String(length=16), nullable=False),
        sa.Column("quote", sa.String(length=16), nullable=False),
        sa.Column("aliases", postgresql.ARRAY(sa.String(length=32)), server_default="{}", nullable=False),
        sa.Column("category", sa.String(length=24), nullable=False),
        sa.Column("price_step", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("size_step", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("min_leverage", sa.Integer(), nullable=False),
        sa.Column("max_leverage", sa.Integer(), nullable=False),
        sa.Column("min_collateral", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("max_collateral", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("taker_fee_rate", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("maintenance_margin_rate", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("market_hours", sa.String(length=32), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "category IN ('crypto', 'forex', 'commodity', 'index', 'stock')", name=op.f("ck_pairs_category_known")
        ),
        sa.CheckConstraint("0 < min_leverage AND min_leverage <= max_leverage", name=op.f("ck_pairs_leverage_range")),
        sa.CheckConstraint(
            "maintenance_margin_rate >= 0 AND maintenance_margin_rate < 1", name=op.f("ck_pairs_maintenance_rate_range")
        ),
        sa.CheckConstraint(
            "max_collateral > 0 AND max_collateral < 1e20", name=op.f("ck_pairs_max_collateral_positive")
        ),
        sa.CheckConstraint(
            "min_collateral > 0 AND min_collateral < 1e20", name=op.f("ck_pairs_min_collateral_positive")
        ),
        sa.CheckConstraint("price_step > 0 AND price_step < 1e20", name=op.f("ck_pairs_price_step_positive")),
        sa.CheckConstraint("size_step > 0 AND size_step < 1e20", name=op.f("ck_pairs_size_step_positive")),
        sa.CheckConstraint("taker_fee_rate >= 0 AND taker_fee_rate < 1", name=op.f("ck_pairs_taker_fee_rate_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
        sa.UniqueConstraint("venue", "symbol", name=op.f("uq_pairs_venue_symbol")),
    )
    op.create_table(
        "provider_configurations",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("provider_name", sa.String(length=32), nullable=False),
        sa.Column("provider_type", sa.String(length=16), nullable=False),
        sa.Column("config_data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_configurations")),
        sa.UniqueConstraint(
            "provider_name",
            "provider_type",
            "version",
            name=op.f("uq_provider_configurations_provider_name_provider_type_version"),
        ),
    )
    op.create_index(
        op.f("ix_provider_configurations_provider_name"), "provider_configurations", ["provider_name"], unique=False
    )
    op.create_index(
        "uq_provider_configurations_active",
        "provider_configurations",
        ["provider_name", "provider_type"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("hashed_password", sa.String(length=255), nullable=True),
        sa.Column("auth0_user_id", sa.String(length=255), nullable=True),
        sa.Column("privy_user_id", sa.String(length=255), nullable=True),
        sa.Column("auth_method", sa.String(length=24), nullable=False),
        sa.Column("wallet_type", sa.String(length=24), nullable=True),
        sa.Column("wallet_address", sa.String(length=64), nullable=True),
        sa.Column("mpc_wallet_id", sa.BigInteger(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("is_sandbox", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("feature_access_level", sa.String(length=24), server_default="full", nullable=False),
        sa.Column("email_verified", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "auth_method IN ('email', 'wallet', 'google', 'apple', 'privy', 'dynamic')",
            name=op.f("ck_users_auth_method_known"),
        ),
        sa.CheckConstraint(
            "feature_access_level IN ('none', 'read', 'trade', 'full')",
            name=op.f("ck_users_feature_access_level_known"),
        ),
        sa.CheckConstraint("wallet_type IN ('external', 'mpc')", name=op.f("ck_users_wallet_type_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("auth0_user_id", name=op.f("uq_users_auth0_user_id")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("privy_user_id", name=op.f("uq_users_privy_user_id")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_index(op.f("ix_users_mpc_wallet_id"), "users", ["mpc_wallet_id"], unique=False)
    op.create_index(op.f("ix_users_wallet_address"), "users", ["wallet_address"], unique=False)
    op.create_index("uq_users_lower_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_index("uq_users_lower_username", "users", [sa.literal_column("lower(username)")], unique=True)
    op.create_table(
        "candles",
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("high", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("low", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("close", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("ticks", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("close > 0 AND close < 1e20", name=op.f("ck_candles_close_positive")),
        sa.CheckConstraint("high > 0 AND high < 1e20", name=op.f("ck_candles_high_positive")),
        sa.CheckConstraint("low > 0 AND low < 1e20", name=op.f("ck_candles_low_positive")),
        sa.CheckConstraint("open > 0 AND open < 1e20", name=op.f("ck_candles_open_positive")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_candles_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", "opened_at", name=op.f("pk_candles")),
    )
    op.create_table(
        "daily_analytics",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("pnl", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("volume", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fees", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("trades_closed", sa.Integer(), nullable=False),
        sa.Column("trades_won", sa.Integer(), nullable=False),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("fees >= 0 AND fees < 1e20", name=op.f("ck_daily_analytics_fees_amount")),
        sa.CheckConstraint("pnl > -1e20 AND pnl < 1e20", name=op.f("ck_daily_analytics_pnl_finite")),
        sa.CheckConstraint("volume >= 0 AND volume < 1e20", name=op.f("ck_daily_analytics_volume_amount")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_daily_analytics_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_daily_analytics")),
    )
    op.create_table(
        "deposits",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_address", sa.String(length=64), nullable=False),
        sa.Column("token_symbol", sa.String(length=32), nullable=False),
        sa.Column("chain", sa.String(length=32), nullable=False),
        sa.Column("amount", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=True),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("transaction_hash", sa.String(length=80), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed')", name=op.f("ck_deposits_status_known")
        ),
        sa.CheckConstraint("amount > 0 AND amount < 1e20", name=op.f("ck_deposits_amount_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_deposits_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposits")),
        sa.UniqueConstraint("chain", "transaction_hash", name=op.f("uq_deposits_chain_transaction_hash")),
    )
    op.create_index(op.f("ix_deposits_user_id"), "deposits", ["user_id"], unique=False)
    op.create_table(
        "event_counters",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_event_counters_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_event_counters")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("fanned_out_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_events_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("user_id", "sequence", name=op.f("uq_events_user_id_sequence")),
    )
    op.create_index(
        "ix_events_not_fanned_out", "events", ["id"], unique=False, postgresql_where=sa.text("fanned_out_at IS NULL")
    )
    op.create_table(
        "oauth_connections",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("provider_user_id", sa.String(length=255), nullable=False),
        sa.Column("access_token", sa.Text(), nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_oauth_connections_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_connections")),
        sa.UniqueConstraint(
            "provider", "provider_user_id", name=op.f("uq_oauth_connections_provider_provider_user_id")
        ),
    )
    op.create_index(op.f("ix_oauth_connections_user_id"), "oauth_connections", ["user_id"], unique=False)
    op.create_table(
        "paper_accounts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("balance", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("margin", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("balance >= 0 AND balance < 1e20", name=op.f("ck_paper_accounts_balance_amount")),
        sa.CheckConstraint("margin >= 0 AND margin < 1e20", name=op.f("ck_paper_accounts_margin_amount")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_paper_accounts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_accounts")),
        sa.UniqueConstraint("user_id", name=op.f("uq_paper_accounts_user_id")),
    )
    op.create_table(
        "price_checkpoints",
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("bid", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("ask", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("tick_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_price_checkpoints_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_price_checkpoints")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("public_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("refresh_token", sa.String(length=64), nullable=True),
        sa.Column("spent_refresh_tokens", postgresql.ARRAY(sa.String(length=64)), server_default="{}", nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("auth_method", sa.String(length=24), nullable=False),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("absolute_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_reason", sa.String(length=32), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "auth_method IN ('email', 'wallet', 'google', 'apple', 'privy', 'dynamic')",
            name=op.f("ck_sessions_auth_method_known"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_sessions_public_id")),
        sa.UniqueConstraint("refresh_token", name=op.f("uq_sessions_refresh_token")),
        sa.UniqueConstraint("token", name=op.f("uq_sessions_token")),
    )
    op.create_index(
        "ix_sessions_spent_refresh_tokens", "sessions", ["spent_refresh_tokens"], unique=False, postgresql_using="gin"
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "venue_accounts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("venue", sa.String(length=16), nullable=False),
        sa.Column("external_id", sa.String(length=80), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_venue_accounts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_venue_accounts")),
        sa.UniqueConstraint("user_id", "venue", name=op.f("uq_venue_accounts_user_id_venue")),
    )
    op.create_index("ix_venue_accounts_external", "venue_accounts", ["venue", "external_id"], unique=False)
    op.create_table(
        "wallet_connections",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("wallet_address", sa.String(length=64), nullable=False),
        sa.Column("wallet_type", sa.String(length=24), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("verified", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("wallet_type IN ('external', 'mpc')", name=op.f("ck_wallet_connections_wallet_type_known")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_wallet_connections_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_connections")),
        sa.UniqueConstraint("user_id", "wallet_address", name=op.f("uq_wallet_connections_user_id_wallet_address")),
    )
    op.create_index(op.f("ix_wallet_connections_user_id"), "wallet_connections", ["user_id"], unique=False)
    op.create_index(
        op.f("ix_wallet_connections_wallet_address"), "wallet_connections", ["wallet_address"], unique=False
    )
    op.create_table(
        "wallets",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("wallet_address", sa.String(length=64), nullable=False),
        sa.Column("wallet_type", sa.String(length=24), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("provider_wallet_id", sa.String(length=255), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("wallet_type IN ('external', 'mpc')", name=op.f("ck_wallets_wallet_type_known")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_wallets_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallets")),
        sa.UniqueConstraint("user_id", "wallet_address", name=op.f("uq_wallets_user_id_wallet_address")),
    )
    op.create_index(op.f("ix_wallets_user_id"), "wallets", ["user_id"], unique=False)
    op.create_index(op.f("ix_wallets_wallet_address"), "wallets", ["wallet_address"], unique=False)
    op.create_table(
        "watermarks",
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("trigger_by", sa.String(length=24), nullable=False),
        sa.Column("price_protect", sa.Boolean(), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("from_sequence", sa.BigInteger(), nullable=False),
        sa.Column("extreme", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.CheckConstraint("side IN ('long', 'short')", name=op.f("ck_watermarks_side_known")),
        sa.CheckConstraint("trigger_by IN ('mark', 'last', 'exit')", name=op.f("ck_watermarks_trigger_by_known")),
        sa.CheckConstraint("extreme > 0 AND extreme < 1e20", name=op.f("ck_watermarks_extreme_positive")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_watermarks_pair_id")),
        sa.PrimaryKeyConstraint(
            "pair_id", "trigger_by", "price_protect", "side", "from_sequence", name=op.f("pk_watermarks")
        ),
    )
    op.create_table(
        "webhook_configurations",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.String(length=32)), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_delivery_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_configurations_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_configurations")),
    )
    op.create_index(op.f("ix_webhook_configurations_user_id"), "webhook_configurations", ["user_id"], unique=False)
    op.create_table(
        "account_pairs",
        sa.Column("venue_account_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("next_trade_index", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_account_pairs_pair_id")),
        sa.ForeignKeyConstraint(
            ["venue_account_id"], ["venue_accounts.id"], name=op.f("fk_account_pairs_venue_account_id")
        ),
        sa.PrimaryKeyConstraint("venue_account_id", "pair_id", name=op.f("pk_account_pairs")),
    )
    op.create_table(
        "paper_ledger",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("booking", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(length=24), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_paper_ledger_amount_not_zero")),
        sa.CheckConstraint("amount > -1e20 AND amount < 1e20", name=op.f("ck_paper_ledger_amount_finite")),
        sa.ForeignKeyConstraint(["account_id"], ["paper_accounts.id"], name=op.f("fk_paper_ledger_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_ledger")),
    )
    op.create_index(op.f("ix_paper_ledger_account_id"), "paper_ledger", ["account_id"], unique=False)
    op.create_index(op.f("ix_paper_ledger_booking"), "paper_ledger", ["booking"], unique=False)
    op.create_index(op.f("ix_paper_ledger_client_id"), "paper_ledger", ["client_id"], unique=False)
    op.create_table(
        "paper_positions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("entry_price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("margin", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("liquidation_price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("armed_sequence", sa.BigInteger(), nullable=False),
        sa.Column("armed_price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("side IN ('long', 'short')", name=op.f("ck_paper_positions_side_known")),
        sa.CheckConstraint("status IN ('open', 'closed', 'liquidated')", name=op.f("ck_paper_positions_status_known")),
        sa.CheckConstraint(
            "armed_price > 0 AND armed_price < 1e20", name=op.f("ck_paper_positions_armed_price_positive")
        ),
        sa.CheckConstraint(
            "entry_price > 0 AND entry_price < 1e20", name=op.f("ck_paper_positions_entry_price_positive")
        ),
        sa.CheckConstraint(
            "liquidation_price >= 0 AND liquidation_price < 1e20",
            name=op.f("ck_paper_positions_liquidation_price_amount"),
        ),
        sa.CheckConstraint("margin >= 0 AND margin < 1e20", name=op.f("ck_paper_positions_margin_amount")),
        sa.CheckConstraint("size >= 0 AND size < 1e20", name=op.f("ck_paper_positions_size_amount")),
        sa.ForeignKeyConstraint(["account_id"], ["paper_accounts.id"], name=op.f("fk_paper_positions_account_id")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_paper_positions_pair_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_positions")),
        sa.UniqueConstraint("opened_by", name=op.f("uq_paper_positions_opened_by")),
    )
    op.create_index(op.f("ix_paper_positions_account_id"), "paper_positions", ["account_id"], unique=False)
    op.create_index(
        "ix_paper_positions_pair_id_open",
        "paper_positions",
        ["pair_id"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "token_swaps",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("deposit_id", sa.BigInteger(), nullable=False),
        sa.Column("from_token", sa.String(length=64), nullable=False),
        sa.Column("to_token", sa.String(length=64), nullable=False),
        sa.Column("from_chain", sa.String(length=32), nullable=False),
        sa.Column("to_chain", sa.String(length=32), nullable=False),
        sa.Column("amount", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("swap_provider", sa.String(length=16), nullable=False),
        sa.Column("swap_status", sa.String(length=24), nullable=False),
        sa.Column("swap_transaction_hash", sa.String(length=80), nullable=True),
        sa.Column("estimated_output", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("actual_output", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("error_message", sa.String(length=255), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "swap_status IN ('pending', 'processing', 'completed', 'failed')",
            name=op.f("ck_token_swaps_swap_status_known"),
        ),
        sa.CheckConstraint(
            "actual_output > 0 AND actual_output < 1e20", name=op.f("ck_token_swaps_actual_output_positive")
        ),
        sa.CheckConstraint("amount > 0 AND amount < 1e20", name=op.f("ck_token_swaps_amount_positive")),
        sa.CheckConstraint(
            "estimated_output > 0 AND estimated_output < 1e20", name=op.f("ck_token_swaps_estimated_output_positive")
        ),
        sa.ForeignKeyConstraint(["deposit_id"], ["deposits.id"], name=op.f("fk_token_swaps_deposit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_swaps")),
    )
    op.create_index(op.f("ix_token_swaps_deposit_id"), "token_swaps", ["deposit_id"], unique=False)
    op.create_table(
        "trades",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_account_id", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=16), nullable=False),
        sa.Column("asset_type", sa.SmallInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("trade_index", sa.Integer(), nullable=False),
        sa.Column("venue_trade_index", sa.String(length=64), nullable=True),
        sa.Column("direction", sa.Boolean(), nullable=False),
        sa.Column("collateral", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("entry_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("current_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("exit_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("pnl", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("fees", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("close_reason", sa.String(length=32), nullable=True),
        sa.Column("transaction_hash", sa.String(length=80), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'submitted', 'open', 'closing', 'closed', 'liquidated', 'cancelled', 'failed')",
            name=op.f("ck_trades_status_known"),
        ),
        sa.CheckConstraint("collateral > 0 AND collateral < 1e20", name=op.f("ck_trades_collateral_positive")),
        sa.CheckConstraint("current_price > 0 AND current_price < 1e20", name=op.f("ck_trades_current_price_positive")),
        sa.CheckConstraint("entry_price > 0 AND entry_price < 1e20", name=op.f("ck_trades_entry_price_positive")),
        sa.CheckConstraint("exit_price > 0 AND exit_price < 1e20", name=op.f("ck_trades_exit_price_positive")),
        sa.CheckConstraint("fees >= 0 AND fees < 1e20", name=op.f("ck_trades_fees_amount")),
        sa.CheckConstraint("leverage > 0", name=op.f("ck_trades_leverage_positive")),
        sa.CheckConstraint("pnl > -1e20 AND pnl < 1e20", name=op.f("ck_trades_pnl_finite")),
        sa.CheckConstraint("size >= 0 AND size < 1e20", name=op.f("ck_trades_size_amount")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_trades_pair_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_trades_user_id")),
        sa.ForeignKeyConstraint(["venue_account_id"], ["venue_accounts.id"], name=op.f("fk_trades_venue_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trades")),
        sa.UniqueConstraint("user_id", "pair_id", "trade_index", name=op.f("uq_trades_user_id_pair_id_trade_index")),
    )
    op.create_index(
        "ix_trades_pair_id_open",
        "trades",
        ["pair_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('open', 'closing')"),
    )
    op.create_index("ix_trades_user_id_id", "trades", ["user_id", "id"], unique=False)
    op.create_index(op.f("ix_trades_venue_account_id"), "trades", ["venue_account_id"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("webhook_config_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("response_code", sa.SmallInteger(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_status_known")
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("fk_webhook_deliveries_event_id")),
        sa.ForeignKeyConstraint(
            ["webhook_config_id"],
            ["webhook_configurations.id"],
            name=op.f("fk_webhook_deliveries_webhook_config_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "webhook_config_id", "event_id", name=op.f("uq_webhook_deliveries_webhook_config_id_event_id")
        ),
    )
    op.create_index(op.f("ix_webhook_deliveries_event_id"), "webhook_deliveries", ["event_id"], unique=False)
    op.create_index(
        "ix_webhook_deliveries_next_run_at",
        "webhook_deliveries",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_config_id"), "webhook_deliveries", ["webhook_config_id"], unique=False
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=True),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.Column("order_type", sa.String(length=24), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("filled_quantity", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.Column("average_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("fee", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("max_slippage", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("stop_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("take_profit_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("trailing_stop_distance", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("trailing_stop_percentage", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("activation_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("oco_stop_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("oco_take_profit_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("trigger_by", sa.String(length=24), server_default="mark", nullable=False),
        sa.Column("price_protect", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("refusal_details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("armed_sequence", sa.BigInteger(), nullable=True),
        sa.Column("armed_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("latched_sequence", sa.BigInteger(), nullable=True),
        sa.Column("released_sequence", sa.BigInteger(), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("triggered_leg", sa.String(length=24), nullable=True),
        sa.Column("trigger_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("trigger_source", sa.String(length=24), nullable=True),
        sa.Column("trigger_sequence", sa.BigInteger(), nullable=True),
        sa.Column("watermark", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("triggered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("transaction_hash", sa.String(length=80), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unknown_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("needs_review", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "order_type IN ('MARKET', 'LIMIT', 'STOP_LOSS', 'TAKE_PROFIT', 'TRAILING_STOP', 'OCO')",
            name=op.f("ck_orders_order_type_known"),
        ),
        sa.CheckConstraint("role IN ('entry', 'exit', 'close')", name=op.f("ck_orders_role_known")),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_orders_side_known")),
        sa.CheckConstraint(
            "status IN ('waiting', 'pending', 'triggered', 'submitted', 'unknown', 'partially_filled', 'pending_cancel', 'pending_replace', 'filled', 'cancelled', 'expired', 'rejected', 'failed')",
            name=op.f("ck_orders_status_known"),
        ),
        sa.CheckConstraint("trigger_by IN ('mark', 'last', 'exit')", name=op.f("ck_orders_trigger_by_known")),
        sa.CheckConstraint(
            "triggered_leg IN ('stop', 'take_profit', 'trailing')", name=op.f("ck_orders_triggered_leg_known")
        ),
        sa.CheckConstraint(
            "activation_price > 0 AND activation_price < 1e20", name=op.f("ck_orders_activation_price_positive")
        ),
        sa.CheckConstraint("armed_price > 0 AND armed_price < 1e20", name=op.f("ck_orders_armed_price_positive")),
        sa.CheckConstraint("average_price > 0 AND average_price < 1e20", name=op.f("ck_orders_average_price_positive")),
        sa.CheckConstraint("fee >= 0 AND fee < 1e20", name=op.f("ck_orders_fee_amount")),
        sa.CheckConstraint("filled_quantity <= quantity", name=op.f("ck_orders_not_overfilled")),
        sa.CheckConstraint(
            "filled_quantity >= 0 AND filled_quantity < 1e20", name=op.f("ck_orders_filled_quantity_amount")
        ),
        sa.CheckConstraint("max_slippage >= 0 AND max_slippage < 1e20", name=op.f("ck_orders_max_slippage_amount")),
        sa.CheckConstraint(
            "oco_stop_price > 0 AND oco_stop_price < 1e20", name=op.f("ck_orders_oco_stop_price_positive")
        ),
        sa.CheckConstraint(
            "oco_take_profit_price > 0 AND oco_take_profit_price < 1e20",
            name=op.f("ck_orders_oco_take_profit_price_positive"),
        ),
        sa.CheckConstraint("price > 0 AND price < 1e20", name=op.f("ck_orders_price_positive")),
        sa.CheckConstraint("quantity > 0 AND quantity < 1e20", name=op.f("ck_orders_quantity_positive")),
        sa.CheckConstraint("stop_price > 0 AND stop_price < 1e20", name=op.f("ck_orders_stop_price_positive")),
        sa.CheckConstraint(
            "take_profit_price > 0 AND take_profit_price < 1e20", name=op.f("ck_orders_take_profit_price_positive")
        ),
        sa.CheckConstraint(
            "trailing_stop_distance > 0 AND trailing_stop_distance < 1e20",
            name=op.f("ck_orders_trailing_stop_distance_positive"),
        ),
        sa.CheckConstraint(
            "trailing_stop_percentage > 0 AND trailing_stop_percentage < 100",
            name=op.f("ck_orders_trailing_stop_percentage_range"),
        ),
        sa.CheckConstraint("trigger_price > 0 AND trigger_price < 1e20", name=op.f("ck_orders_trigger_price_positive")),
        sa.CheckConstraint("watermark > 0 AND watermark < 1e20", name=op.f("ck_orders_watermark_positive")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_orders_pair_id")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.id"], name=op.f("fk_orders_trade_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_orders_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("user_id", "client_order_id", name=op.f("uq_orders_user_id_client_order_id")),
    )
    op.create_index(
        "ix_orders_expires_at", "orders", ["expires_at"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index(
        "ix_orders_pair_id_watched",
        "orders",
        ["pair_id"],
        unique=False,
        postgresql_where=sa.text("role = 'exit' AND status = 'pending'"),
    )
    op.create_index(op.f("ix_orders_trade_id"), "orders", ["trade_id"], unique=False)
    op.create_index("ix_orders_user_id_id", "orders", ["user_id", "id"], unique=False)
    op.create_table(
        "paper_orders",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("position_id", sa.BigInteger(), nullable=True),
        sa.Column("order_type", sa.String(length=24), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("size", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("limit_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("leverage", sa.Integer(), nullable=True),
        sa.Column("collateral", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("reserved", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("fill_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("fee", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("pnl", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("mark_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("size_left", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("margin_left", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("armed_sequence", sa.BigInteger(), nullable=False),
        sa.Column("fill_sequence", sa.BigInteger(), nullable=True),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "order_type IN ('MARKET', 'LIMIT', 'STOP_LOSS', 'TAKE_PROFIT', 'TRAILING_STOP', 'OCO')",
            name=op.f("ck_paper_orders_order_type_known"),
        ),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_paper_orders_side_known")),
        sa.CheckConstraint(
            "status IN ('resting', 'filled', 'cancelled', 'rejected')", name=op.f("ck_paper_orders_status_known")
        ),
        sa.CheckConstraint("collateral > 0 AND collateral < 1e20", name=op.f("ck_paper_orders_collateral_positive")),
        sa.CheckConstraint("fee >= 0 AND fee < 1e20", name=op.f("ck_paper_orders_fee_amount")),
        sa.CheckConstraint("fill_price > 0 AND fill_price < 1e20", name=op.f("ck_paper_orders_fill_price_positive")),
        sa.CheckConstraint("limit_price > 0 AND limit_price < 1e20", name=op.f("ck_paper_orders_limit_price_positive")),
        sa.CheckConstraint("margin_left >= 0 AND margin_left < 1e20", name=op.f("ck_paper_orders_margin_left_amount")),
        sa.CheckConstraint("mark_price > 0 AND mark_price < 1e20", name=op.f("ck_paper_orders_mark_price_positive")),
        sa.CheckConstraint("pnl > -1e20 AND pnl < 1e20", name=op.f("ck_paper_orders_pnl_finite")),
        sa.CheckConstraint("reserved >= 0 AND reserved < 1e20", name=op.f("ck_paper_orders_reserved_amount")),
        sa.CheckConstraint("size > 0 AND size < 1e20", name=op.f("ck_paper_orders_size_positive")),
        sa.CheckConstraint("size_left >= 0 AND size_left < 1e20", name=op.f("ck_paper_orders_size_left_amount")),
        sa.ForeignKeyConstraint(["account_id"], ["paper_accounts.id"], name=op.f("fk_paper_orders_account_id")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_paper_orders_pair_id")),
        sa.ForeignKeyConstraint(["position_id"], ["paper_positions.id"], name=op.f("fk_paper_orders_position_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_orders")),
        sa.UniqueConstraint("client_id", name=op.f("uq_paper_orders_client_id")),
    )
    op.create_index(op.f("ix_paper_orders_account_id"), "paper_orders", ["account_id"], unique=False)
    op.create_index(
        "ix_paper_orders_pair_id_resting",
        "paper_orders",
        ["pair_id"],
        unique=False,
        postgresql_where=sa.text("status = 'resting'"),
    )
    op.create_index(op.f("ix_paper_orders_position_id"), "paper_orders", ["position_id"], unique=False)
    op.create_table(
        "positions",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("asset", sa.String(length=16), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("entry_price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("current_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("unrealized_pnl", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("liquidation_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("margin", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("side IN ('long', 'short')", name=op.f("ck_positions_side_known")),
        sa.CheckConstraint(
            "current_price > 0 AND current_price < 1e20", name=op.f("ck_positions_current_price_positive")
        ),
        sa.CheckConstraint("entry_price > 0 AND entry_price < 1e20", name=op.f("ck_positions_entry_price_positive")),
        sa.CheckConstraint(
            "liquidation_price >= 0 AND liquidation_price < 1e20", name=op.f("ck_positions_liquidation_price_amount")
        ),
        sa.CheckConstraint("margin >= 0 AND margin < 1e20", name=op.f("ck_positions_margin_amount")),
        sa.CheckConstraint("size >= 0 AND size < 1e20", name=op.f("ck_positions_size_amount")),
        sa.CheckConstraint(
            "unrealized_pnl > -1e20 AND unrealized_pnl < 1e20", name=op.f("ck_positions_unrealized_pnl_finite")
        ),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_positions_pair_id")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.id"], name=op.f("fk_positions_trade_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_positions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
        sa.UniqueConstraint("trade_id", name=op.f("uq_positions_trade_id")),
    )
    op.create_index(
        "ix_positions_pair_id_open", "positions", ["pair_id"], unique=False, postgresql_where=sa.text("is_open")
    )
    op.create_index(
        "ix_positions_user_id_open", "positions", ["user_id", "id"], unique=False, postgresql_where=sa.text("is_open")
    )
    op.create_table(
        "fills",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_account_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_fill_id", sa.String(length=80), nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fee", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("pnl", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("is_close", sa.Boolean(), nullable=False),
        sa.Column("is_liquidation", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_fills_side_known")),
        sa.CheckConstraint("fee >= 0 AND fee < 1e20", name=op.f("ck_fills_fee_amount")),
        sa.CheckConstraint("pnl > -1e20 AND pnl < 1e20", name=op.f("ck_fills_pnl_finite")),
        sa.CheckConstraint("price > 0 AND price < 1e20", name=op.f("ck_fills_price_positive")),
        sa.CheckConstraint("quantity > 0 AND quantity < 1e20", name=op.f("ck_fills_quantity_positive")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_fills_order_id")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.id"], name=op.f("fk_fills_trade_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_fills_user_id")),
        sa.ForeignKeyConstraint(["venue_account_id"], ["venue_accounts.id"], name=op.f("fk_fills_venue_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint("venue_account_id", "venue_fill_id", name=op.f("uq_fills_venue_account_id_venue_fill_id")),
    )
    op.create_index(op.f("ix_fills_order_id"), "fills", ["order_id"], unique=False)
    op.create_index(op.f("ix_fills_trade_id"), "fills", ["trade_id"], unique=False)
    op.create_index(op.f("ix_fills_user_id"), "fills", ["user_id"], unique=False)
    op.create_table(
        "idempotency_records",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("response_body", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_idempotency_records_order_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_idempotency_records_user_id")),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_records")),
    )
    op.create_index("ix_idempotency_records_created_at", "idempotency_records", ["created_at"], unique=False)
    op.create_table(
        "intents",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("venue_account_id", sa.BigInteger(), nullable=False),
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("transaction_hash", sa.String(length=80), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('open', 'close', 'cancel')", name=op.f("ck_intents_kind_known")),
        sa.CheckConstraint(
            "status IN ('new', 'sent', 'resting', 'done', 'rejected')", name=op.f("ck_intents_status_known")
        ),
        sa.CheckConstraint("id < 281474976710656", name=op.f("ck_intents_client_id_range")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_intents_order_id")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_intents_pair_id")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.id"], name=op.f("fk_intents_trade_id")),
        sa.ForeignKeyConstraint(["venue_account_id"], ["venue_accounts.id"], name=op.f("fk_intents_venue_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intents")),
        sa.UniqueConstraint("order_id", "attempt", "kind", name=op.f("uq_intents_order_id_attempt_kind")),
    )
    op.create_index(
        "ix_intents_next_run_at",
        "intents",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('new', 'sent', 'resting')"),
    )
    op.create_index(op.f("ix_intents_pair_id"), "intents", ["pair_id"], unique=False)
    op.create_index(op.f("ix_intents_trade_id"), "intents", ["trade_id"], unique=False)
    op.create_index(op.f("ix_intents_venue_account_id"), "intents", ["venue_account_id"], unique=False)
    op.create_index(
        "uq_intents_trade_id_closing",
        "intents",
        ["trade_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'close' AND status IN ('new', 'sent')"),
    )
    op.create_foreign_key(
        "fk_users_mpc_wallet_id", "users", "wallets", ["mpc_wallet_id"], ["id"], ondelete="SET NULL"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_constraint("fk_users_mpc_wallet_id", "users", type_="foreignkey")
    op.drop_index(
        "uq_intents_trade_id_closing",
        table_name="intents",
        postgresql_where=sa.text("kind = 'close' AND status IN ('new', 'sent')"),
    )
    op.drop_index(op.f("ix_intents_venue_account_id"), table_name="intents")
    op.drop_index(op.f("ix_intents_trade_id"), table_name="intents")
    op.drop_index(op.f("ix_intents_pair_id"), table_name="intents")
    op.drop_index(
        "ix_intents_next_run_at", table_name="intents", postgresql_where=sa.text("status IN ('new', 'sent', 'resting')")
    )
    op.drop_table("intents")
    op.drop_index("ix_idempotency_records_created_at", table_name="idempotency_records")
    op.drop_table("idempotency_records")
    op.drop_index(op.f("ix_fills_user_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_trade_id"), table_name="fills")
    op.drop_index(op.f("ix_fills_order_id"), table_name="fills")
    op.drop_table("fills")
    op.drop_index("ix_positions_user_id_open", table_name="positions", postgresql_where=sa.text("is_open"))
    op.drop_index("ix_positions_pair_id_open", table_name="positions", postgresql_where=sa.text("is_open"))
    op.drop_table("positions")
    op.drop_index(op.f("ix_paper_orders_position_id"), table_name="paper_orders")
    op.drop_index(
        "ix_paper_orders_pair_id_resting", table_name="paper_orders", postgresql_where=sa.text("status = 'resting'")
    )
    op.drop_index(op.f("ix_paper_orders_account_id"), table_name="paper_orders")
    op.drop_table("paper_orders")
    op.drop_index("ix_orders_user_id_id", table_name="orders")
    op.drop_index(op.f("ix_orders_trade_id"), table_name="orders")
    op.drop_index(
        "ix_orders_pair_id_watched",
        table_name="orders",
        postgresql_where=sa.text("role = 'exit' AND status = 'pending'"),
    )
    op.drop_index("ix_orders_expires_at", table_name="orders", postgresql_where=sa.text("status = 'pending'"))
    op.drop_table("orders")
    op.drop_index(op.f("ix_webhook_deliveries_webhook_config_id"), table_name="webhook_deliveries")
    op.drop_index(
        "ix_webhook_deliveries_next_run_at",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_index(op.f("ix_webhook_deliveries_event_id"), table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
    op.drop_index(op.f("ix_trades_venue_account_id"), table_name="trades")
    op.drop_index("ix_trades_user_id_id", table_name="trades")
    op.drop_index(
        "ix_trades_pair_id_open", table_name="trades", postgresql_where=sa.text("status IN ('open', 'closing')")
    )
    op.drop_table("trades")
    op.drop_index(op.f("ix_token_swaps_deposit_id"), table_name="token_swaps")
    op.drop_table("token_swaps")
    op.drop_index(
        "ix_paper_positions_pair_id_open", table_name="paper_positions", postgresql_where=sa.text("status = 'open'")
    )
    op.drop_index(op.f("ix_paper_positions_account_id"), table_name="paper_positions")
    op.drop_table("paper_positions")
    op.drop_index(op.f("ix_paper_ledger_client_id"), table_name="paper_ledger")
    op.drop_index(op.f("ix_paper_ledger_booking"), table_name="paper_ledger")
    op.drop_index(op.f("ix_paper_ledger_account_id"), table_name="paper_ledger")
    op.drop_table("paper_ledger")
    op.drop_table("account_pairs")
    op.drop_index(op.f("ix_webhook_configurations_user_id"), table_name="webhook_configurations")
    op.drop_table("webhook_configurations")
    op.drop_table("watermarks")
    op.drop_index(op.f("ix_wallets_wallet_address"), table_name="wallets")
    op.drop_index(op.f("ix_wallets_user_id"), table_name="wallets")
    op.drop_table("wallets")
    op.drop_index(op.f("ix_wallet_connections_wallet_address"), table_name="wallet_connections")
    op.drop_index(op.f("ix_wallet_connections_user_id"), table_name="wallet_connections")
    op.drop_table("wallet_connections")
    op.drop_index("ix_venue_accounts_external", table_name="venue_accounts")
    op.drop_table("venue_accounts")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_index("ix_sessions_spent_refresh_tokens", table_name="sessions", postgresql_using="gin")
    op.drop_table("sessions")
    op.drop_table("price_checkpoints")
    op.drop_table("paper_accounts")
    op.drop_index(op.f("ix_oauth_connections_user_id"), table_name="oauth_connections")
    op.drop_table("oauth_connections")
    op.drop_index("ix_events_not_fanned_out", table_name="events", postgresql_where=sa.text("fanned_out_at IS NULL"))
    op.drop_table("events")
    op.drop_table("event_counters")
    op.drop_index(op.f("ix_deposits_user_id"), table_name="deposits")
    op.drop_table("deposits")
    op.drop_table("daily_analytics")
    op.drop_table("candles")
    op.drop_index("uq_users_lower_username", table_name="users")
    op.drop_index("uq_users_lower_email", table_name="users")
    op.drop_index(op.f("ix_users_wallet_address"), table_name="users")
    op.drop_index(op.f("ix_users_mpc_wallet_id"), table_name="users")
    op.drop_table("users")
    op.drop_index(
        "uq_provider_configurations_active", table_name="provider_configurations", postgresql_where=sa.text("is_active")
    )
    op.drop_index(op.f("ix_provider_configurations_provider_name"), table_name="provider_configurations")
    op.drop_table("provider_configurations")
    op.drop_table("pairs")
    op.drop_table("leases")
    op.drop_table("feed_states")
    op.drop_index(op.f("ix_app_configurations_category"), table_name="app_configurations")
    op.drop_table("app_configurations")
