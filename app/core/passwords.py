"""Passwords that guessers try first; the list is in common_passwords.txt."""

from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("common_passwords.txt")


def is_common(password: str) -> bool:
    """Whether the password is on the list, whatever its case."""
    return password.lower() in _common()


@cache
def _common() -> frozenset[str]:
    return frozenset(LIST.read_text().split())
