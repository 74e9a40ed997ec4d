"""What TLS has to do with a connection that broke off while it was made.

A broker that refuses the service's certificate says so, but after the handshake, when the service has begun to speak:
the connection is reset, and the reason is lost with it. So it is asked for once more, by one who only listens.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from yarl import URL

from app.queue.errors import BrokerError, BrokerRefusedError
from app.queue.providers.rabbitmq.errors import broken_off, connection_error

HANDSHAKE_TIMEOUT = 3.0
REASON_TIMEOUT = 1.0


async def explained(error: Exception, url: URL, context: ssl.SSLContext | None) -> BrokerError:
    """The reason why a connection could not be made, as `connection_error()`; one that broke off is looked into."""
    if not broken_off(error):
        return connection_error(error, url)
    try:
        await _listen(url, context or ssl.create_default_context())
    except ssl.SSLError as reason:
        if context is not None:
            return connection_error(reason, url)
        speaks_tls = isinstance(reason, ssl.SSLCertVerificationError)
    except (OSError, TimeoutError):
        speaks_tls = False
    else:
        speaks_tls = context is None
    if speaks_tls:
        return BrokerRefusedError(
            f"RabbitMQ at {url.host}:{url.port}: this port speaks TLS; set ssl: true, or write amqps://"
        )
    return connection_error(error, url)


async def _listen(url: URL, context: ssl.SSLContext) -> None:
    """Shake hands, and send nothing. Returns when nothing comes; raises ssl.SSLError, OSError or TimeoutError."""
    async with asyncio.timeout(HANDSHAKE_TIMEOUT):
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(REASON_TIMEOUT):
                await reader.read(1)
    finally:
        writer.transport.abort()
