"""TLS to private servers: whose certificate is taken, and what is said if it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.queue.errors import BrokerRefusedError
from core_tests.redis.private import SECRET, Start, refusal, works
from core_tests.tools.authority import Authority
from core_tests.tools.example import UserHandler, queue_config, running
from core_tests.tools.ports import free_port
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class ServerAuthority(Authority):
    """With the options of a server."""

    def server(self, port: int, files: dict[str, str], demands: str = "no") -> dict[str, object]:
        """Options of a server, which speaks TLS on `port`."""
        return {
            "tls-port": port,
            "tls-cert-file": files["certfile"],
            "tls-key-file": files["keyfile"],
            "tls-ca-cert-file": self.cafile,
            "tls-auth-clients": demands,
        }


@pytest.fixture
def authority(tmp_path: Path) -> ServerAuthority:
    return ServerAuthority(tmp_path)


async def test_tls_with_a_private_authority(start: Start, authority: ServerAuthority) -> None:
    port = free_port()
    node = start(authority.server(port, authority.issue("server")))
    trusting = {"cafile": authority.cafile}
    assert await works("localhost", port=port, ssl=True, ssl_context=trusting)
    assert await works(f"rediss://localhost:{port}", ssl_context=trusting)
    assert await works(f"rediss://127.0.0.1:{port}", ssl_context={**trusting, "check_hostname": False})
    assert "cafile must name the authority" in str(await refusal(f"rediss://localhost:{port}"))
    assert "its certificate is refused" in str(await refusal(f"rediss://127.0.0.1:{port}", ssl_context=trusting))
    assert "does it speak TLS" in str(await refusal(f"redis://localhost:{port}"))
    assert "does it speak TLS on this port?" in str(
        await refusal(f"rediss://localhost:{node.port}", ssl_context=trusting)
    )
    handler = UserHandler()
    config = queue_config("q", "redis", broker_url=f"rediss://localhost:{port}", ssl_context=trusting)
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 3, "what was published is handled, over TLS too")


async def test_an_expired_certificate_is_refused(start: Start, authority: ServerAuthority) -> None:
    port = free_port()
    start(authority.server(port, authority.issue("server", expired=True)))
    error = await refusal(f"rediss://localhost:{port}", ssl_context={"cafile": authority.cafile})
    assert isinstance(error, BrokerRefusedError)
    assert "certificate has expired" in str(error)


async def test_a_server_that_demands_a_certificate(start: Start, authority: ServerAuthority, tmp_path: Path) -> None:
    port = free_port()
    start(authority.server(port, authority.issue("server"), demands="yes"))
    trusting = {"cafile": authority.cafile}
    assert await works(f"rediss://localhost:{port}", ssl_context={**trusting, **authority.issue("us", "the.service")})
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger").issue("stranger", "the.service")
    for context in (trusting, {**trusting, **stranger}):
        error = await refusal(f"rediss://localhost:{port}", ssl_context=context)
        assert "certificate" in str(error)
        assert isinstance(error, BrokerRefusedError)


async def test_a_password_is_never_sent_to_a_server_that_speaks_no_tls(authority: ServerAuthority) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"+OK\r\n")
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"rediss://bob:{SECRET}@localhost:{port}", ssl_context={"cafile": authority.cafile})
        assert "does not speak TLS" in str(error)
        await eventually(lambda: len(heard) == 2, "the client has gone")
    assert SECRET.encode() not in b"".join(heard)
