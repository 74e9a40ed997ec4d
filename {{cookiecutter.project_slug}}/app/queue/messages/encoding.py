# The template's: an update changes it. Which files are yours: README.md.
"""Content encodings: how a message says that its body is compressed, and the body as a handler reads it.

The bytes that travel are always the original ones. What is undone here is for the handler alone.
"""

from __future__ import annotations

import encodings
import pkgutil
import zlib
from collections.abc import Mapping
from encodings.aliases import aliases
from functools import lru_cache
from typing import Any

from app.queue.messages.message import Message
from app.queue.messages.outcome import InvalidMessageError, Reason

HEADER = "content-encoding"
"""The header that says it, where the broker's format has no property for it. Large and small letters are the same."""
NO_TEXT = frozenset({"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"})
"""Codecs of Python's that are no charset."""
CHARSETS = {name for _, name, _ in pkgutil.iter_modules(encodings.__path__)} | aliases.keys() - NO_TEXT
CHARSETS -= NO_TEXT | {"aliases", *(alias for alias, codec in aliases.items() if codec in NO_TEXT)}
MEANS_NOTHING = frozenset({"", "identity", "binary"})
GZIP, ZLIB, RAW = 31, 15, -15  # what zlib calls these formats (`wbits`)
COMPRESSIONS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": ZLIB}
MAX_NAME = 256
MAX_PARTS = 100  # compressed parts, one after the other, of which a gzip body may consist


def content_encoding(message: Message) -> str:
    """What the message says of itself: the broker's property, or else the header; "" if there is neither."""
    if message.content_encoding or not message.headers:
        return message.content_encoding
    return next(iter(encoding_headers(message.headers).values()), "")


def encoding_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Those headers that say how the body is to be read: without them it is lost. A long text is none."""
    return {
        name: value
        for name, value in headers.items()
        if len(name) == len(HEADER) and name.lower() == HEADER and isinstance(value, str) and len(value) < MAX_NAME
    }


def readable_body(message: Message, limit: int) -> bytes:
    """The body with its content encoding undone. Raises InvalidMessageError, if it has more than `limit` bytes too."""
    body = message.body
    if len(body) > limit:
        raise InvalidMessageError(Reason.TOO_LARGE, f"the body has {len(body)} bytes")
    if not (encoding := content_encoding(message)):
        return body
    compression = _compression(encoding)
    if compression is None:
        return body
    name = repr(encoding[:100])
    if not compression:
        text = f"the content encoding is {name}; what is undone is gzip or deflate, and a charset means none"
        raise InvalidMessageError(Reason.BAD_ENCODING, text)
    try:
        plain = _decompressed(body, compression, limit)
    except (EOFError, zlib.error) as error:
        text = f"the body is not what its content encoding {name} says: {error}"
        raise InvalidMessageError(Reason.BAD_ENCODING, text) from None
    if len(plain) > limit:
        raise InvalidMessageError(Reason.TOO_LARGE, f"the body has more than {limit} bytes once its {name} is undone")
    return plain


@lru_cache(maxsize=64)
def _compression(encoding: str) -> int | None:
    """How the body is compressed, as zlib calls it; None if it is not, and 0 if nobody here knows how.

    Spring writes `gzip:utf-8`, and newer versions `gzip, utf-8`.
    """
    names = [name.strip().lower() for name in encoding.replace(":", ",").split(",")]
    kinds = [name for name in names if name not in MEANS_NOTHING and not _is_charset(name)]
    if not kinds:
        return None
    return COMPRESSIONS.get(kinds[0], 0) if len(kinds) == 1 else 0


def _is_charset(name: str) -> bool:
    # By a list, since Python would keep in mind every other name that it was ever asked for.
    return encodings.normalize_encoding(name) in CHARSETS


def _decompressed(body: bytes, kind: int, limit: int) -> bytes:
    """The body, or its first `limit` + 1 bytes. Raises EOFError or zlib.error."""
    if kind == ZLIB and not _has_zlib_head(body):
        kind = RAW  # what some call deflate
    plain = b""
    for _ in range(MAX_PARTS):
        part = zlib.decompressobj(kind)
        plain += part.decompress(body, limit + 1 - len(plain))
        if len(plain) > limit:
            return plain
        if not part.eof:
            raise EOFError("it ends too early")
        body = part.unused_data.lstrip(b"\0")
        if not body:
            return plain
        if kind != GZIP:
            break
    raise EOFError("there is more behind its end")


def _has_zlib_head(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
