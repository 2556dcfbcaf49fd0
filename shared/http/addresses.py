"""Which addresses a user-given URL may reach: our own table, because `ipaddress.is_global` lets too much through.

On Python 3.11 it is True for NAT64 and 6to4 wrappings of 169.254.169.254, for ::127.0.0.1 and for multicast.
Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from shared.core.errors import InvalidInput

# One text for every refusal and every failed connection: it must not tell what listens where inside our network.
UNREACHABLE = "the address cannot be used: it must be an https URL on port 443 or 8443 of a public host that answers"
PORTS = frozenset({443, 8443})
_URL_LIMIT = 2_048

_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's metadata and agent service on a public number
            "169.254.0.0/16",  # link local, metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",
        ),
    )
)
# Only global unicast is public at all: IPv4-mapped, NAT64, unique local, link local and multicast lie outside.
_GLOBAL_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
# What OUTBOUND_ALLOW_PRIVATE opens. Link local stays shut: metadata services live there.
_PRIVATE_4 = tuple(map(IPv4Network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_PRIVATE_6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
# The host part of an IPv6 address that tunnels to an IPv4 one (ISATAP, RFC 5214).
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)$")
_OCTET = r"(0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
_DOTTED_QUAD = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")
_PRINTABLE = re.compile(r"[!-~]+")


class AddressRefused(InvalidInput):
    """The wall stands in the way. The detail never says why: that would map our network."""

    def __init__(self) -> None:
        super().__init__(UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: `host` is a lower-case name or an address without brackets, `path` begins with /."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port for the Host header and for limits: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


def is_public(address: str) -> bool:
    """True for an address literal that a stranger's URL may reach."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_4)
    return _is_public_6(parsed)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in _GLOBAL_6:
        return False
    if any(address in network for network in _NOT_PUBLIC_6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


def is_private(address: str) -> bool:
    """True for loopback and private ranges, which a setting may open."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return any(parsed in network for network in _PRIVATE_4)
    return parsed.scope_id is None and any(parsed in network for network in _PRIVATE_6)


def permitted(address: str, *, allow_private: bool) -> bool:
    """Whether we may connect to an address literal."""
    return is_public(address) or (allow_private and is_private(address))


def parse_target(url: str, *, allow_private: bool = False) -> Target:
    """Take a URL apart, strictly: one spelling per meaning, so that nothing behind us reads it differently.

    Raises AddressRefused for user information, other schemes and ports, spaces, control and non-ASCII characters,
    backslashes, fragments, numbers in disguise (`127.1`, `0x7f000001`), a trailing dot, and address literals that are
    not public.
    """
    if len(url) > _URL_LIMIT or not _PRINTABLE.fullmatch(url) or "\\" in url or "#" in url:
        raise AddressRefused
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused from None
    scheme = parts.scheme
    if scheme != "https" and not (allow_private and scheme == "http"):
        raise AddressRefused
    if not url.lower().startswith(f"{scheme}://") or "@" in parts.netloc or parts.netloc.endswith(":"):
        raise AddressRefused
    port = port if port is not None else 443 if scheme == "https" else 80
    if not (port in PORTS or (allow_private and port > 0)):
        raise AddressRefused
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, _host(parts.netloc, allow_private=allow_private), port, path)


def _host(netloc: str, *, allow_private: bool) -> str:
    if netloc.startswith("["):
        host = netloc[1:].partition("]")[0].lower()
        if "." in host or not permitted(host, allow_private=allow_private):
            raise AddressRefused
        return host
    host = netloc.rpartition(":")[0] if ":" in netloc else netloc
    host = host.lower()
    if _DOTTED_QUAD.fullmatch(host):
        if not permitted(host, allow_private=allow_private):
            raise AddressRefused
        return host
    single = "." not in host
    if _NUMERIC_END.search(host) or len(host) > 253 or not _NAME.fullmatch(host) or (single and not allow_private):
        raise AddressRefused
    return host
