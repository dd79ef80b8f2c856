"""The settings of a command, from the environment and `.env`."""

import os
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from app.cli.failure import VALUE_ERROR, Failure
from app.config.settings import Settings

# The field of a problem that lies in several settings, which its message names.
TOGETHER = "settings"
# What begins like this is meant for us, and what is read beside the settings.
PREFIXES = ("MARQETFI_", "PAPER_", "RATE_LIMIT_", "WEBSOCKET_")
OTHERS = frozenset({"MARQETFI_URL"})
ALMOST = 0.85


def load_settings() -> Settings:
    """Every setting; Failure SETTINGS_INVALID names each one that is wrong, without its value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            {"field": ".".join(map(str, one["loc"])).upper() or TOGETHER, "message": reason}
            for one in error.errors(include_url=False, include_input=False)
            for reason in one["msg"].removeprefix(VALUE_ERROR).splitlines()
        ]
        raise Failure(
            "SETTINGS_INVALID",
            "The environment or .env holds what cannot be used.",
            hint=".env.example tells what each setting takes.",
            details={"errors": wrong},
        ) from None


def unknown_names() -> dict[str, str | None]:
    """Names in `.env`, and names like ours in the environment, that are no settings; each with the one it may mean."""
    settings = [name.upper() for name in Settings.model_fields]
    in_file = {name.upper() for name in DotEnvSettingsSource(Settings).env_vars}
    names = sorted(in_file | {name.upper() for name in os.environ} - OTHERS)
    meant = {name: next(iter(get_close_matches(name, settings, 1, ALMOST)), None) for name in names}
    return {
        name: near
        for name, near in meant.items()
        if name not in settings and (name in in_file or near or name.startswith(PREFIXES))
    }
