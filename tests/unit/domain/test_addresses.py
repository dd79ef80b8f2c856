"""Where a webhook may go."""

import pytest

from app.domain.addresses import UrlRefused, checked_url, may_connect

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:1.1.1.1"]
HOSTILE = [
    "0.0.0.0",  # noqa: S104 - nothing is bound here
    "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1", "not an address", "", "1.1.1.1.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert may_connect(address)


@pytest.mark.parametrize("address", HOSTILE)
def test_hostile_addresses(address: str) -> None:
    assert not may_connect(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_for_development(address: str) -> None:
    assert may_connect(address, allow_local=True)


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "192.168.1.1", "fd00:ec2::254"])
def test_development_opens_loopback_and_nothing_else(address: str) -> None:
    assert not may_connect(address, allow_local=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/webhook",
        "https://example.com",
        "https://Example.COM:8443/a%20b?c=d&e=%2F",
        "https://xn--bcher-kva.example/",
        "https://example.com./x",
    ],
)
def test_urls_are_kept_as_they_were_given(url: str) -> None:
    assert checked_url(url) == url


REFUSED = [
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "example.com/hook", "",
    "https://", "https:///path", "https://user@example.com/", "https://user:word@example.com/",
    "https://example.com@127.0.0.1/", "https://example.com/#fragment", "https://example.com/#",
    "https://example.com:80/", "https://example.com:22/", "https://example.com:0/", "https://example.com:99999/",
    "https://example.com:x/", "https://localhost/", "https://localhost./", "https://x.localhost/", "https://box.local/",
    "https://metadata.google.internal/", "https://router.lan/", "https://nas.home.arpa/", "https://x.onion/",
    "https://intranet/", "https://127.0.0.1/", "https://1.1.1.1/", "https://127.1/", "https://2130706433/",
    "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://example.0x7f/", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[fe80::1%25eth0]/", "https://[::1/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://ⓔxample.com/", "https://bücher.example/", "https://example.com/ x",
    "https://example.com/\r\nHost: evil", "https://example.com/\t", "https://example.com\\@evil.com/",
    "https://exam%70le.com/", "https://-example.com/", "https://example-.com/", "https://ex_ample.com/",
    "https://example..com/", "https://.example.com/", "https://" + "a" * 64 + ".com/",
    "https://example.com/" + "a" * 2048,
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_urls_that_no_webhook_may_have(url: str) -> None:
    with pytest.raises(UrlRefused):
        checked_url(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://localhost:3000", "https://[::1]:1/", "http://a.example/"]
)
def test_urls_of_development(url: str) -> None:
    assert checked_url(url, allow_local=True) == url
    with pytest.raises(UrlRefused):
        checked_url(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://user@localhost/", "http://127.1/", "ftp://localhost/"])
def test_development_is_no_licence(url: str) -> None:
    with pytest.raises(UrlRefused):
        checked_url(url, allow_local=True)
