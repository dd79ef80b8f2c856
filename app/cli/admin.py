"""Administrators: made here, since the API makes none."""

import asyncio
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from app.cli.console import screen, write_json
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import migrated_url, units_of_work
from app.cli.options import AsJson, PasswordStdin, read_password
from app.config.settings import Settings
from app.core.security import PasswordHasher
from app.domain.enums import AuthMethod
from app.schemas.auth.requests import RegisterRequest

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Manage administrators."""


@app.command()
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    username: Annotated[
        str | None, typer.Option(help="Instead of what stands before the @.", show_default=False)
    ] = None,
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Make an administrator: a new account, or one that exists (its password stays)."""
    settings = load_settings()
    with migrated_url(settings) as url:
        is_new = not asyncio.run(_promote(url, email))
        if is_new:
            wanted = _checked(
                email, username or email.partition("@")[0], read_password(from_stdin=password_stdin, is_new=True)
            )
            asyncio.run(_add(url, settings, wanted))
    if as_json:
        write_json({"email": email.lower(), "created": is_new, "is_superuser": True})
    else:
        done = "is now an account, and an administrator" if is_new else "is an administrator now"
        screen().print(Text.assemble((email.lower(), "bold"), f" {done}."))


async def _promote(url: str, email: str) -> bool:
    """Make an administrator of who has this email; False where nobody has."""
    async with units_of_work(url) as (_, uow), uow() as work:
        return await work.users.promote(email)


async def _add(url: str, settings: Settings, wanted: RegisterRequest) -> None:
    hasher = PasswordHasher(memory_kib=settings.password_memory_kib, time_cost=settings.password_time_cost)
    hashed = await hasher.hash(wanted.password)
    hasher.close()
    async with units_of_work(url) as (_, uow), uow() as work:
        user = await work.users.add_unless_taken(
            email=wanted.email.lower(),
            username=wanted.username,
            hashed_password=hashed,
            auth_method=AuthMethod.EMAIL,
            is_superuser=True,
        )
    if user is None:
        raise Failure("ALREADY_EXISTS", f"The username {wanted.username} is taken.", hint="Name another by --username.")


def _checked(email: str, username: str, password: str) -> RegisterRequest:
    """The account as registration would take it."""
    try:
        return RegisterRequest(email=email, username=username, password=password)
    except ValidationError as error:
        wrong = [
            {"field": ".".join(map(str, one["loc"])), "message": one["msg"]}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        hint = "Choose another name by --username." if any(one["field"] == "username" for one in wrong) else None
        raise Failure(
            "VALIDATION_ERROR", "No account can be made of this.", hint=hint, details={"errors": wrong}
        ) from None
