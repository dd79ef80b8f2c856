"""The group of webhook commands."""

from typing import ClassVar

import typer

from app.cli.lazy import Lazy, LazyGroup


class Webhooks(LazyGroup):
    """Commands about webhook endpoints."""

    table: ClassVar = {
        "list": Lazy("app.cli.webhook_endpoints:list_endpoints", "List your endpoints."),
        "create": Lazy("app.cli.webhook_endpoints:create", "Make an endpoint, and show its secret this once."),
        "show": Lazy("app.cli.webhook_endpoints:show_endpoint", "Show an endpoint, and how it does."),
        "update": Lazy("app.cli.webhook_endpoints:update", "Change where an endpoint is, what it gets, or whether."),
        "delete": Lazy("app.cli.webhook_endpoints:delete", "Delete an endpoint with its deliveries."),
        "rotate": Lazy("app.cli.webhook_endpoints:rotate", "Give an endpoint a new secret, and show it this once."),
        "test": Lazy("app.cli.webhook_deliveries:send_test", "Send a test event, and say what came of it."),
        "deliveries": Lazy("app.cli.webhook_deliveries:deliveries", "List an endpoint's deliveries, newest first."),
        "delivery": Lazy("app.cli.webhook_deliveries:delivery", "Show what was sent, and what was answered."),
        "resend": Lazy("app.cli.webhook_deliveries:resend", "Send one delivery again, or all since a time."),
        "types": Lazy("app.cli.webhook_receiving:types", "List the types of events, or show one with an example."),
        "verify": Lazy("app.cli.webhook_receiving:verify", "Say what is wrong with what a receiver got."),
    }


app = typer.Typer(cls=Webhooks, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make, test and look after webhook endpoints."""
