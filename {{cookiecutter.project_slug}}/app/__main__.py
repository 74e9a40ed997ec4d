# The template's: an update changes it. Which files are yours: README.md.
"""`python -m app`: the service on `HOST` (127.0.0.1) and `PORT` (8000), logging at `LOG_LEVEL` (INFO)."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from app.queue.config import load_queues
from app.queue.errors import ConfigError
from app.queue.run.process import log_to_stderr, role


def main() -> int:
    """Serve until a signal. A wrong configuration is one message, and exit code 2."""
    try:
        log_to_stderr()
        port = _port()
        load_queues()
        role()
        from app.main import app  # noqa: PLC0415 - whatever the user's module does comes after the check
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    uvicorn.run(
        app,
        host=os.environ.get("HOST") or "127.0.0.1",
        port=port,
        log_config=None,
        # Of uvicorn's two parsers the one with bounds: at httptools, a head that never ends is read for ever.
        http="h11",
        timeout_graceful_shutdown=10,
    )
    return 0


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65_536):
        raise ConfigError(f"environment variable PORT: must be a number from 0 to 65535, not {text!r}")
    return int(text)


def _is_news(record: logging.LogRecord) -> bool:
    """False for uvicorn's traceback around a ConfigError: the lifespan has said already what is wrong."""
    return f"\n{ConfigError.__module__}.{ConfigError.__name__}: " not in str(record.msg)


if __name__ == "__main__":
    sys.exit(main())
