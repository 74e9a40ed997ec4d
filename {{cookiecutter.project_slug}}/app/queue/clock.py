# The template's: an update changes it. Which files are yours: README.md.
"""Time and chance, as the core takes them: from the running event loop, and from one generator.

A simulation replaces both: it runs the core on a loop whose time it sets, and seeds the generator.
"""

from __future__ import annotations

import asyncio
import random

chance = random.Random()  # noqa: S311 - it spreads load, and keeps no secret
"""All jitter comes from here."""


def now() -> float:
    """Seconds by the running event loop's clock, which only goes forward."""
    return asyncio.get_running_loop().time()
