"""Where a webhook may go: which URLs may be saved, which addresses may be connected to."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

LONGEST_URL = 2048
PORTS = frozenset({443, 8443})

# Not only what is private: `is_global` of the standard library lets metadata, multicast and translated ones through.
_BLOCKED_V4 = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_V6 = ip_network("2000::/3")
_BLOCKED_V6 = tuple(
    ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
)
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".onion")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# As browsers have it: a host whose last label is a number is an address, however it is written.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_URL_TEXT = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class UrlRefused(ValueError):
    """A URL that no webhook may have; its text says why."""


def may_connect(address: str, *, allow_local: bool = False) -> bool:
    """Whether an address is one of the public internet; `allow_local` takes loopback too."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if allow_local and parsed.is_loopback:
        return True
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in block for block in _BLOCKED_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    return address.is_global and address in _PUBLIC_V6 and not any(address in block for block in _BLOCKED_V6)


def may_use_port(port: int, *, allow_local: bool = False) -> bool:
    """Whether a webhook may go to a port."""
    return port in PORTS or (allow_local and port > 0)


def checked_url(url: str, *, allow_local: bool = False) -> str:
    """The URL as it was given; UrlRefused where it may not be an endpoint's."""
    if len(url) > LONGEST_URL:
        raise UrlRefused(f"A URL is at most {LONGEST_URL} characters")
    if _URL_TEXT.fullmatch(url) is None:
        raise UrlRefused("Write the URL in printable ASCII: percent-encode paths, punycode for other scripts")
    if "#" in url:
        raise UrlRefused("A URL must not have a fragment")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UrlRefused("This is no URL") from None
    _check_form(parts, allow_local=allow_local)
    host = (parts.hostname or "").removesuffix(".")
    if not (allow_local and host in _LOOPBACK_NAMES):
        _check_host(host)
    if not may_use_port(443 if port is None else port, allow_local=allow_local):
        raise UrlRefused(f"The port must be one of {', '.join(str(number) for number in sorted(PORTS))}")
    return url


def _check_form(parts: SplitResult, *, allow_local: bool) -> None:
    schemes = ("https", "http") if allow_local else ("https",)
    if parts.scheme not in schemes:
        raise UrlRefused(f"The URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "@" in parts.netloc:
        raise UrlRefused("A URL must not hold a user name or a password")


def _check_host(host: str) -> None:
    labels = host.split(".")
    if len(host) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise UrlRefused("The host must be a DNS name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise UrlRefused("The host must be a DNS name, not an address")
    if len(labels) < 2 or f".{host}".endswith(_LOCAL_SUFFIXES):
        raise UrlRefused("The host must be a public DNS name")
