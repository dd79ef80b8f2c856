"""Bodies of the authentication routes."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.core.passwords import is_common
from app.schemas.base import RequestModel

EMAIL_PATTERN = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}$"
)

_EMAIL = re.compile(EMAIL_PATTERN)


def _not_common(password: str) -> str:
    if is_common(password):
        raise PydanticCustomError("password_common", "The password is one of those that are tried first")
    return password


def _email(text: str) -> str:
    if _EMAIL.match(text) is None:
        raise PydanticCustomError("email_form", "Write an email address, such as somebody@domain.org")
    return text


Email = Annotated[
    str,
    AfterValidator(_email),
    Field(max_length=254, examples=["user@example.com"], json_schema_extra={"pattern": EMAIL_PATTERN}),
]
Username = Annotated[str, Field(min_length=3, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$", examples=["user123"])]
NewPassword = Annotated[
    str,
    Field(min_length=8, max_length=128, examples=["correct horse battery"]),
    AfterValidator(_not_common),
]
RefreshToken = Annotated[str, Field(min_length=1, max_length=256, examples=["mqr_..."])]


class RegisterRequest(RequestModel):
    """A new account."""

    email: Email = Field(description="Upper and lower case are the same")
    username: Username = Field(description="3 to 64 letters, digits and _.-")
    password: NewPassword = Field(description="8 to 128 characters, none of the most common")


class LoginRequest(RequestModel):
    """Credentials of an account."""

    email: Email = Field(description="Upper and lower case are the same")
    password: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="The account's password")


class RefreshRequest(RequestModel):
    """The refresh token that came with the last login or refresh."""

    refresh_token: RefreshToken = Field(description="Good once: the answer holds the next")
