"""Guards every connection that leaves: resolve once, check each address, connect to those only.

Between the check and the connection nothing is resolved again, so that a name that changes its
address in between (DNS rebinding) changes nothing. The name itself stays in `Host` and in TLS.
"""

import socket
from collections.abc import Sequence

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from services.alerts.delivery.core.blocked_networks import Network, refused


class RefusedAddress(OSError):  # noqa: N818 (a word of the domain, like Invalid)
    """The address of an endpoint is one that must not be called."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the endpoint's address is refused: {why}")


class SsrfGuard(AbstractResolver):
    """Resolves names through `inner`, and makes the sockets of an `aiohttp.TCPConnector`.

    A name that has any refused address is refused as a whole: which of several addresses is
    tried is chance, and an honest name has none. `socket` checks again what is really connected
    to, which an IP address in a URL reaches without being resolved.
    """

    def __init__(self, inner: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._inner = inner
        self._allowed = tuple(allowed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; RefusedAddress if one of them must not be called."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            self._check(each["host"])
        return found

    async def close(self) -> None:
        """Let the resolver go."""
        await self._inner.close()

    def socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for an address that may be called; RefusedAddress for any other."""
        family, kind, proto, _, address = info
        self._check(str(address[0]))
        return socket.socket(family=family, type=kind, proto=proto)

    def _check(self, address: str) -> None:
        if (why := refused(address, self._allowed)) is not None:
            raise RefusedAddress(why)
