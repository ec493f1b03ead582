"""Who is calling, as far as the network can tell. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from app.settings import ConfigurationError

UNKNOWN = "unknown"
# A client can send any number of hops; more proxies than this stand in nobody's way.
_MAX_HOPS = 16
_V6_SITE = 64

Address = IPv4Address | IPv6Address


class ClientAddresses:
    """Names the client of a request; a forwarded address is believed only from the configured proxies."""

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        """Addresses or networks. Raises `ConfigurationError` for anything else."""
        self._trusted = [_network(proxy) for proxy in trusted_proxies]

    def of(self, scope: Scope) -> str:
        """The address; of IPv6 the /64, since one customer has all of it."""
        peer = _parse((scope.get("client") or ("",))[0])
        if peer is not None and self._trusted:
            peer = self._origin(peer, _forwarded(scope))
        return UNKNOWN if peer is None else _site(peer)

    def _origin(self, peer: Address, hops: Sequence[str]) -> Address:
        """The right-most hop that is not ours: everything further left was written by the client."""
        for hop in reversed(hops):
            if not self._is_trusted(peer):
                break
            address = _parse(hop)
            if address is None:
                break
            peer = address
        return peer

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _network(proxy: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(proxy, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"TRUSTED_PROXIES: write addresses or networks such as 10.0.0.0/8, not {proxy!r}"
        ) from None


def _forwarded(scope: Scope) -> Sequence[str]:
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return b",".join(lines).decode("latin-1").rsplit(",", _MAX_HOPS)[-_MAX_HOPS:] if lines else ()


def _parse(text: str) -> Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _site(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _V6_SITE), strict=False))
