"""The settings of a command, from the environment and `.env`."""

from pydantic import ValidationError

from app.cli.failure import Failure
from app.config.settings import Settings


def load_settings() -> Settings:
    """Every setting; Failure SETTINGS_INVALID names each one that is wrong, without its value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            {"field": ".".join(map(str, one["loc"])).upper() or "settings", "message": _reason(one["msg"])}
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise Failure(
            "SETTINGS_INVALID",
            "The environment or .env holds what cannot be used.",
            hint=".env.example tells what each setting takes.",
            details={"errors": wrong},
        ) from None


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")
