# The template's: an update changes it. Which files are yours: README.md.
"""`POST /queues/{queue}/messages:batch`: up to 1,000 messages in one request, published together."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic_core
from fastapi import APIRouter, Header, HTTPException, Request, Response
from pydantic import BaseModel

from app.queue.api import (
    RESPONSES,
    Key,
    LeanRoute,
    Problem,
    Traceparent,
    check,
    headers_with,
    publisher_for,
    read,
    retry_after,
    said,
)
from app.queue.errors import MessageTooLargeError, PublishError
from app.queue.interfaces import QueuePublisher
from app.queue.messages.body import json_text

logger = logging.getLogger(__name__)
router = APIRouter(route_class=LeanRoute)

MAX_MESSAGES = 1_000
MAX_BYTES = 16 * 2**20
AT_A_TIME = 4
"""Batches in memory. The bodies of others are not read before it is their turn."""
BATCH_ID = re.compile(r"[!-~]{1,117}")
"""With `-1000of1000` behind it, it is still an id as a single message may have it."""
TURN = 65_536
"""Bytes after which the event loop turns to whatever else it has to do; a message counts for a fiftieth more."""
_decoder = json.JSONDecoder()
_blank = re.compile(r"[ \t\r\n]*")
_line = re.compile(r"[^ \t\r\n][^\n]*")


class Result(BaseModel):
    """What became of one message. `status` is what it would have been answered alone."""

    status: int
    message_id: str | None = None
    detail: str | None = None
    may_have_landed: bool | None = None


class Results(BaseModel):
    """What became of each message, in the order in which they were sent."""

    messages: list[Result]


# An item may be of any kind: one that is no message is a 422 in the answer, not of it. An object is a line of NDJSON.
_ITEM = {"description": "As the body of a single message. One that is not has the status 422 in the answer."}
_ARRAY = {"type": ["array", "object"], "minItems": 1, "maxItems": MAX_MESSAGES, "items": _ITEM}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": _ARRAY},
        "application/x-ndjson": {"schema": {"type": "string", "description": "A message on each line."}},
    },
}


@router.post(
    "/queues/{queue}/messages:batch",
    status_code=202,
    tags=["messages"],
    response_model=Results,
    response_model_exclude_none=True,
    responses={
        **{status: answer for status, answer in RESPONSES.items() if status != 503},
        207: {"model": Results, "description": "Not all have landed; Retry-After is there if a broker was the reason"},
        413: {"model": Problem, "description": f"The body has more than {MAX_BYTES} bytes"},
        422: {"model": Problem, "description": f"Neither a JSON array nor NDJSON, or not 1 to {MAX_MESSAGES} messages"},
    },
    openapi_extra={"requestBody": _BODY},
)
async def publish_batch(
    queue: str,
    request: Request,
    key: Key,
    x_message_id: Annotated[
        str | None,
        Header(
            description="1 to 117 visible ASCII characters: of three messages, the first has the id `<this>-1of3`.",
            json_schema_extra={"pattern": f"^{BATCH_ID.pattern}$"},  # checked below, for an answer in plain words
        ),
    ] = None,
    traceparent: Traceparent = None,
) -> Response:
    """Publish messages, each as if it were sent alone. 202 means that the broker has all of them safely."""
    publisher = publisher_for(queue, request, key)
    if x_message_id is not None and not BATCH_ID.fullmatch(x_message_id):
        raise HTTPException(422, "X-Message-Id must have 1 to 117 visible ASCII characters, for a batch")
    async with request.app.state.batches:
        bodies = await _messages(await read(request, MAX_BYTES))
        count = len(bodies)
        ids = [None if x_message_id is None else f"{x_message_id}-{number}of{count}" for number in range(1, count + 1)]
        batch = _Batch(queue, request, publisher, headers_with(traceparent))
        results = await batch.publish(bodies, ids)
    all_landed = all(result["status"] == 202 for result in results)
    content = pydantic_core.to_json({"messages": results})
    return Response(content, 202 if all_landed else 207, batch.retry_after, media_type="application/json")


class _Batch:
    """What the messages of a request have in common."""

    def __init__(self, queue: str, request: Request, publisher: QueuePublisher, headers: dict[str, str] | None) -> None:
        self._queue = queue
        self._request = request
        self._publisher = publisher
        self._headers = headers
        self.retry_after: dict[str, str] = {}

    async def publish(self, bodies: list[bytes], ids: list[str | None]) -> list[dict[str, Any]]:
        """Publish them side by side. Returns what a Result has, of each."""
        tasks: list[asyncio.Task[dict[str, Any]]] = []
        turns = _Turns()
        for body, message_id in zip(bodies, ids, strict=True):
            tasks.append(asyncio.create_task(self._publish(body, message_id)))
            if self._publisher.breaker_state != "closed":
                await tasks[-1]  # a breaker that is half open lets one try, and the others only if that one succeeds
            else:
                await turns.after(len(body))
        return await asyncio.gather(*tasks)

    async def _publish(self, body: bytes, message_id: str | None) -> dict[str, Any]:
        given = {} if message_id is None else {"message_id": message_id}
        try:
            if len(body) > (limit := self._publisher.config.max_message_bytes):
                raise HTTPException(413, f"a message of this queue may have {limit} bytes at most")
            check(self._request, self._queue, body)
            sent = await self._publisher.publish_message(
                self._queue, body, message_id=message_id, headers=self._headers
            )
        except HTTPException as error:
            return {"status": error.status_code, **given, "detail": error.detail}
        except MessageTooLargeError as error:
            return {"status": 413, **given, "detail": str(error)}
        except PublishError as error:
            self.retry_after = retry_after(error)
            told = {"message_id": error.message_id, "detail": said(error), "may_have_landed": error.may_have_landed}
            return {"status": 503, **told}
        except Exception as error:
            logger.exception("%s: publishing a message of a batch failed", self._queue)
            return {"status": 500, **given, "detail": f"publishing raised {type(error).__name__}"}
        return {"status": 202, "message_id": sent}


class _Turns:
    """Lets the event loop do other things now and then."""

    def __init__(self) -> None:
        self._done = 0

    async def after(self, size: int) -> None:
        """A message of this size was dealt with."""
        self._done += size + TURN // 50
        if self._done >= TURN:
            self._done = 0
            await asyncio.sleep(0)


async def _messages(body: bytes) -> list[bytes]:
    """The messages of a batch, each as it was sent. Raises HTTPException."""
    found: list[bytes] = []
    turns = _Turns()
    try:
        text = json_text(body).decode()
        if text[_after_blank(text, 0) : _after_blank(text, 0) + 1] not in ("[", "{", ""):
            raise ValueError("it begins with neither '[' nor '{'")
        for message in _elements(text) if text.lstrip().startswith("[") else _lines(text):
            if len(found) == MAX_MESSAGES:
                raise HTTPException(422, f"a batch may have {MAX_MESSAGES} messages at most")
            found.append(message.encode())
            await turns.after(len(message))
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"the body is neither a JSON array of messages nor NDJSON: {error}") from None
    if not found:
        raise HTTPException(422, "there is no message in the batch")
    return found


def _lines(text: str) -> Iterator[str]:
    """The lines that are not blank. Whether they are JSON is for each to say."""
    return (match[0].rstrip(" \t\r") for match in _line.finditer(text))


def _elements(text: str) -> Iterator[str]:
    """The elements of a JSON array. Raises ValueError if it is none."""
    at = _after_blank(text, _after_blank(text, 0) + 1)
    closed = text.startswith("]", at)
    while not closed:
        _, end = _decoder.raw_decode(text, at)
        yield text[at:end]
        at = _after_blank(text, end)
        closed = text.startswith("]", at)
        if not closed:
            if not text.startswith(",", at):
                raise ValueError(f"',' or ']' expected at character {at}")
            at = _after_blank(text, at + 1)
    if _after_blank(text, at + 1) != len(text):
        raise ValueError(f"something comes behind the array, at character {at + 1}")


def _after_blank(text: str, at: int) -> int:
    match = _blank.match(text, at)
    assert match is not None  # nothing is blank, too
    return match.end()
