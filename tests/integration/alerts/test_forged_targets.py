"""Failure test 12: server-side request forgery against the real client.

The attacks use names, literal addresses, rebinding and redirects. The receivers are on loopback
addresses; a test allows one of them.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from services.alerts.delivery.core.retry import Reply
from services.alerts.delivery.http_client import Http
from shared.runtime.clock import SystemClock
from tests.fakes.certificates import Authority
from tests.integration.alerts.receiver import Receiver, receiving, reply

ALLOWED = [ip_network("127.0.0.1/32")]
FORBIDDEN = "127.0.0.2"


class Names(AbstractResolver):
    """A resolver that gives the answers of a list in order, then repeats the last one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET,
                          proto=0, flags=socket.AI_NUMERICHOST)
            for each in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def client(names: Names, tls: ssl.SSLContext | None = None) -> AsyncIterator[Http]:
    async with Http(
        timeout_s=5, allowed=ALLOWED, clock=SystemClock(), resolver=names, tls=tls
    ) as http:
        yield http


async def post(http: Http, url: str) -> Reply:
    return await http.send("POST", url, {}, b"{}")


def port_of(receiver: Receiver) -> str:
    return receiver.url.rpartition(":")[2].partition("/")[0]


async def test_12_a_name_keeps_its_host_and_is_resolved_once(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    async with client(names) as http:
        for _ in range(3):
            assert (await post(http, f"http://crm.example:{port_of(receiver)}/")).status == 204
    assert names.asked == ["crm.example"], "one connection, one question"
    hosts = {request.headers["host"] for request in receiver.requests}
    assert hosts == {f"crm.example:{port_of(receiver)}"}


@pytest.mark.parametrize(
    "addresses",
    [[FORBIDDEN], ["127.0.0.1", FORBIDDEN], ["169.254.169.254"], ["10.0.0.1", "93.184.215.14"]],
)
async def test_12_a_name_with_any_refused_address_is_refused(
    receiver: Receiver, addresses: list[str]
) -> None:
    async with client(Names(addresses)) as http:
        answer = await post(http, f"http://crm.example:{port_of(receiver)}/")
    assert (answer.status, answer.reached) == (None, False)
    assert "refused" in (answer.error or "")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "host",
    [FORBIDDEN, "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "2130706433",
     "127.1", "0x7f000001", "0"],
)  # fmt: skip
async def test_12_an_address_in_the_url_is_checked_too(receiver: Receiver, host: str) -> None:
    """Addresses written as a number, in hexadecimal or in a short form are checked as well."""
    names = Names([FORBIDDEN])  # in case one of these is taken for a name
    async with client(names) as http:
        answer = await post(http, f"http://{host}:{port_of(receiver)}/")
    assert (answer.status, answer.reached) == (None, False)
    assert receiver.requests == []


async def test_12_a_name_that_changes_its_address_gains_nothing(receiver: Receiver) -> None:
    """DNS rebinding: the name is good when checked and loopback when resolved again."""
    names = Names(["127.0.0.1"], [FORBIDDEN])
    receiver.otherwise = reply(204, connection="close")
    async with client(names) as http:
        url = f"http://crm.example:{port_of(receiver)}/"
        assert (await post(http, url)).status == 204
        assert len(names.asked) == 1, "nobody asks between the check and the connection"
        receiver.otherwise = reset_and_close
        await post(http, url)  # on the connection that was checked, or on none
        await asyncio.sleep(0)
        second = await post(http, url)
    assert (second.status, second.reached) == (None, False)
    assert "refused" in (second.error or "")


async def reset_and_close(_: object, writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    writer.transport.abort()


async def test_12_a_redirect_to_a_metadata_address_is_not_followed(receiver: Receiver) -> None:
    receiver.otherwise = reply(302, location="http://169.254.169.254/latest/meta-data/")
    names = Names(["127.0.0.1"])
    async with client(names) as http:
        answer = await post(http, f"http://crm.example:{port_of(receiver)}/")
    assert answer.status == 302
    assert names.asked == ["crm.example"]
    assert len(receiver.requests) == 1


async def test_12_no_proxy_and_no_credentials_come_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client(Names(["127.0.0.1"])) as http:
            assert (await post(http, f"http://crm.example:{port_of(receiver)}/")).status == 204
        assert proxy.requests == []


async def test_12_tls_is_checked_against_the_name_not_the_address(tmp_path: Path) -> None:
    """The pinned address replaces the name neither in SNI nor in the certificate's check."""
    authority = Authority("ca", SystemClock().now())
    trusted = authority.write(tmp_path / "ca.pem")
    good = authority.issue(tmp_path / "good", "crm", SystemClock().now(), host="crm.example")
    other = authority.issue(tmp_path / "other", "crm", SystemClock().now(), host="other.example")
    for files, status in ((good, 204), (other, None)):
        asked: list[str | None] = []
        async with serving_tls(files, asked) as port:
            tls = ssl.create_default_context(cafile=str(trusted))
            async with client(Names(["127.0.0.1"]), tls) as http:
                answer = await post(http, f"https://crm.example:{port}/")
        assert answer.status == status
        assert asked == ["crm.example"]
        assert answer.reached == (status is not None)


@asynccontextmanager
async def serving_tls(files: tuple[Path, Path], asked: list[str | None]) -> AsyncIterator[int]:
    """Serve TLS, record the names in SNI and answer 204."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    context.sni_callback = note

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
