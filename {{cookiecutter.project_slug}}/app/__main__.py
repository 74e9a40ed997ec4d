"""`python -m app`: the service on `HOST` (127.0.0.1) and `PORT` (8000), logging at `LOG_LEVEL` (INFO)."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from app.queue.config import load_queues
from app.queue.environment import role
from app.queue.errors import ConfigError


def main() -> int:
    """Serve until a signal. A wrong configuration is one message, and exit code 2."""
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-8s %(name)s: %(message)s")
    try:
        load_queues()
        role()
        from app.main import app  # noqa: PLC0415 - whatever the user's module does comes after the check
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8000")),
        log_config=None,
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
