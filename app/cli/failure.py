"""How a command fails: what went wrong, what to do about it, and the exit code."""

from collections.abc import Mapping

EXIT_FAILED = 1
EXIT_IN_USE = 3
# What pydantic puts before the words that say what is wrong with a value.
VALUE_ERROR = "Value error, "


class Failure(Exception):
    """The end of a command; `code` is for programs, `hint` tells people what to do next."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        exit_code: int = EXIT_FAILED,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: Mapping[str, object] = details or {}
        self.exit_code = exit_code

    def envelope(self) -> dict[str, object]:
        """The failure for programs, in the shape of the API's errors."""
        details = {**self.details, "hint": self.hint} if self.hint else dict(self.details)
        return {"error": {"code": self.code, "message": self.message, "details": details}}
