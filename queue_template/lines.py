"""Lines as git counts them, and as Python does. `str.splitlines` also ends one at a form feed, and at others."""

from __future__ import annotations

import re

LINE = re.compile(r"[^\n]*\n|[^\n]+")
OF_PYTHON = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""The line of the number that `ast` gives."""
