"""Guards every outgoing connection: resolve once, check each address, connect to those only.

Nothing is resolved again between the check and the connection, so a name that changes its address
in between (DNS rebinding) has no effect. `Host` and TLS still use the name itself.
"""

import socket
from collections.abc import Sequence

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from services.alerts.delivery.core.blocked_networks import Network, refused


class RefusedAddress(OSError):  # noqa: N818 (a word of the domain, like Invalid)
    """Raised for an endpoint with an address that must not be called."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the endpoint's address is refused: {why}")


class SsrfGuard(AbstractResolver):
    """Resolves names through `inner`, and makes the sockets of an `aiohttp.TCPConnector`.

    A name with any refused address is refused as a whole: which of several addresses is tried is
    chance, and a legitimate name has none. `socket` checks the address of the actual connection
    again: an IP address in a URL is never resolved.
    """

    def __init__(self, inner: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._inner = inner
        self._allowed = tuple(allowed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raise RefusedAddress if one must not be called."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            self._check(each["host"])
        return found

    async def close(self) -> None:
        """Close the resolver."""
        await self._inner.close()

    def socket(self, info: AddrInfoType) -> socket.socket:
        """Return a socket for an address that may be called; raise RefusedAddress for any other."""
        family, kind, proto, _, address = info
        self._check(str(address[0]))
        return socket.socket(family=family, type=kind, proto=proto)

    def _check(self, address: str) -> None:
        if (why := refused(address, self._allowed)) is not None:
            raise RefusedAddress(why)
