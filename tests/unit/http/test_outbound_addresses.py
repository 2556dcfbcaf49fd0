"""The address wall: what a URL that a stranger names may never reach, by whatever spelling."""

from ipaddress import ip_address

import pytest

from shared.http.addresses import UNREACHABLE, AddressRefused, is_private, is_public, parse_target

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1"),
    *("168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1"),
    *("192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"),
    *("::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "fe80::1"),
    *("fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "fdff::1", "ff02::1", "ff05::1:3", "2001::1"),
    *("2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("2620:4f:8000::1", "3fff::1", "5f00::1", "2600::5efe:7f00:1", "2600::200:5efe:a9fe:a9fe", "4000::1"),
    *("127.1", "0x7f000001", "2130706433", "017700000001", "not an address", ""),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::200e", "2600::1"),
]
# Every one of these is refused before anything is resolved or connected.
REFUSED_URLS = [
    # schemes and fragments
    "https://example.com/#part",
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/"),
    *(
        "example.com",
        "https:example.com",
        "https:/example.com",
        "https:///example.com",
        "javascript:alert(1)",
        "data:,x",
    ),
    *(
        "ws://example.com/",
        "HTTPS//example.com",
        "unix:///run/x.sock",
        "https+unix://x/",
        "",
        " ",
        "https://",
        "https:// /",
    ),
    # user information
    *(
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@127.0.0.1/",
        "https://@example.com/",
    ),
    *("https://example.com%40127.0.0.1/", "https://:@example.com/", "https://a@b@example.com/"),
    # ports
    *("https://example.com:80/", "https://example.com:22/", "https://example.com:8080/", "https://example.com:0/"),
    *("https://example.com:65536/", "https://example.com:-1/", "https://example.com:x/", "https://example.com:/"),
    *(
        "https://example.com:４４３/",
        "https://example.com:443:443/",
        "https://example.com:25/",
        "https://example.com:6379/",
    ),
    # loopback and friends by name, without a dot
    *("https://localhost/", "https://LOCALHOST/", "https://metadata/", "https://kubernetes/", "https://db:443/"),
    # IPv4 in its many spellings
    *("https://127.0.0.1/", "https://127.0.0.1:443/", "https://127.0.0.1:8443/", "https://127.1/", "https://127.0.1/"),
    *(
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
    ),
    *("https://0x7f.1/", "https://127.0.0.0x1/", "https://0/", "https://0.0.0.0/", "https://00.0.0.0/", "https://1.1/"),
    *("https://127.000.000.001/", "https://010.8.8.8/", "https://8.8.8.8.8/", "https://256.8.8.8/", "https://8.8.8/"),
    *(
        "https://127.0.0.1./",
        "https://8.8.8.8./",
        "https://1.2.3.4.0x5/",
        "https://0x/",
        "https://a.0x7f/",
        "https://a.1/",
    ),
    *(
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/",
    ),
    *("https://169.254.170.2/v2/credentials", "https://168.63.129.16/", "https://198.18.0.1/", "https://224.0.0.1/"),
    *("https://255.255.255.255/", "https://192.0.2.1/", "https://203.0.113.1/", "https://240.0.0.1/"),
    # unicode digits, dots and letters
    *(
        "https://①②⑦.⓪.⓪.①/",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
        "https://127．0．0．1/",
        "https://１２７。１/",
    ),
    *(
        "https://ｌocalhost/",
        "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "https://exam\u00adple.com/",
        "https://examp\u200ble.com/",
        "https://bücher.de/",
    ),
    *("https://٣.٣.٣.٣/", "https://example\u2024com/", "https://ex\u0000ample.com/", "https://\u202eelpmaxe.com/"),
    # IPv6
    *(
        "https://[::1]/",
        "https://[::]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
    ),
    *(
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:0:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
    ),
    *("https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::]/", "https://[2001:0:7f00:1::]/", "https://[fe80::1]/"),
    *(
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[fd00:ec2::254]/",
        "https://[fc00::1]/",
        "https://[ff02::1]/",
    ),
    *(
        "https://[2001:db8::1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://[::1/",
        "https://::1/",
    ),
    *("https://[v1.fe80::a]/", "https://[::1]x/", "https://[]/", "https://[1.2.3.4]/", "https://[2600::5efe:7f00:1]/"),
    # spaces, controls, backslashes and other tricks of two parsers
    *(
        "https://example.com\\@127.0.0.1/",
        "https://127.0.0.1\\.example.com/",
        "https:\\\\example.com/",
        "https://exa mple.com/",
    ),
    *(
        "https://example.com\t/",
        "\thttps://example.com/",
        "https://example.com/\r\nHost: x",
        "https://exa\nmple.com/",
        "ht\ntps://example.com/",
    ),
    *(
        "https://example..com/",
        "https://.example.com/",
        "https://example.com./",
        "https://-example.com/",
        "https://example-.com/",
    ),
    *(
        "https://exa_mple.com/",
        "https://exam%70le.com/",
        "https://127.0.0.1%2f.example.com/",
        "https://example.com%00/",
    ),
    *(
        "https://example.com#@127.0.0.1:80/:x@",
        "https://example.com;127.0.0.1/",
        "https://*.example.com/",
        "https://$HOST/",
    ),
    *(
        f"https://{'a' * 64}.com/",
        f"https://{'a.' * 130}com/",
        f"https://example.com/{'x' * 3000}",
        "https://{{host}}/",
    ),
]
ACCEPTED_URLS = {
    "https://example.com": ("example.com", 443, "/"),
    "https://example.com/a/b?c=d": ("example.com", 443, "/a/b?c=d"),
    "HTTPS://EXAMPLE.com:443/": ("example.com", 443, "/"),
    "https://example.com:8443/hook": ("example.com", 8443, "/hook"),
    "https://xn--bcher-kva.example/": ("xn--bcher-kva.example", 443, "/"),
    "https://1.1.1.1/": ("1.1.1.1", 443, "/"),
    "https://[2606:4700:4700::1111]/": ("2606:4700:4700::1111", 443, "/"),
    "https://3m.com/": ("3m.com", 443, "/"),
}
LOCAL_URLS = [
    *(
        "http://127.0.0.1:8080/",
        "http://localhost:3000/",
        "https://10.0.0.7/",
        "http://[::1]:9/",
        "http://192.168.0.2/",
    ),
    *("http://[fd12::1]/", "http://172.20.0.2:1234/x"),
]
STILL_REFUSED = [
    *("http://169.254.169.254/", "http://0.0.0.0/", "http://[fe80::1]/", "http://224.0.0.1/", "http://user@localhost/"),
    *(
        "http://0x7f000001/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "ftp://127.0.0.1/",
        "http://127.1/",
    ),
    *("http://localhost:0/", "http://localhost./"),
]


def test_the_table_is_long_enough() -> None:
    assert len(set(REFUSED_URLS)) >= 100


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)
    assert not is_private(address)
    assert ip_address(address).is_global


@pytest.mark.parametrize("url", REFUSED_URLS, ids=ascii)
def test_refused_with_one_text(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        parse_target(url)
    assert refused.value.detail == UNREACHABLE


@pytest.mark.parametrize(("url", "parts"), ACCEPTED_URLS.items())
def test_accepted(url: str, parts: tuple[str, int, str]) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.path) == parts


@pytest.mark.parametrize("url", LOCAL_URLS)
def test_the_setting_opens_private_ranges(url: str) -> None:
    assert parse_target(url, allow_private=True).port > 0
    with pytest.raises(AddressRefused):
        parse_target(url)


@pytest.mark.parametrize("url", STILL_REFUSED)
def test_the_setting_opens_nothing_else(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse_target(url, allow_private=True)


def test_the_authority_names_a_port_only_where_it_must() -> None:
    assert parse_target("https://example.com:443/").authority == "example.com"
    assert parse_target("https://example.com:8443/").authority == "example.com:8443"
    assert parse_target("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"
