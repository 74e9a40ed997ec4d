# The template's: an update changes it. Which files are yours: README.md.
"""`POST /queues/{queue}/messages`: publishing over HTTP. And `GET /metrics`. Many messages at once: `api_batch.py`."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import os
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from app.queue.errors import CircuitOpenError, MessageTooLargeError, PublishError
from app.queue.instrumentation.prometheus import exposition
from app.queue.interfaces import QueuePublisher
from app.queue.messages.body import decode
from app.queue.messages.outcome import InvalidMessageError
from app.queue.publishing import PublisherDisabledError, UnknownQueueError
from app.queue.run.process import Role
from app.queue.run.service import QueueService

logger = logging.getLogger(__name__)
router = APIRouter()

BODY_TIMEOUT = 30.0
"""Seconds in which a client must have sent its body."""
RETRY_AFTER = 5
MESSAGE_ID = re.compile(r"[!-~]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,100})?")
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="The value of API_KEY in the environment.")


class Accepted(BaseModel):
    """The broker has confirmed the message."""

    message_id: str


class Problem(BaseModel):
    """What was wrong."""

    detail: str


class Unavailable(Problem):
    """The broker is out of reach. Try again with the same X-Message-Id, above all if the message may have landed."""

    message_id: str
    may_have_landed: bool


RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "X-API-Key is missing or wrong, or the service has no API_KEY"},
    404: {"model": Problem, "description": "No such queue"},
    408: {"model": Problem, "description": "The body did not arrive in time"},
    409: {"model": Problem, "description": "This service does not publish to the queue"},
    413: {"model": Problem, "description": "The body is larger than the queue's max_message_bytes"},
    422: {"model": Problem, "description": "Not a message that a handler of the queue can take"},
    503: {
        "model": Unavailable,
        "description": "The broker is out of reach",
        "headers": {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
    },
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string", "minLength": 1}},
                "additionalProperties": True,
            }
        }
    },
}


def check_api_key(key: Annotated[str | None, Security(_api_key)]) -> None:
    """401 unless the key is that of the environment. Without one there, nobody may publish."""
    expected = os.environ.get("API_KEY", "")
    # Header values arrive decoded as latin-1; compared are the bytes that were sent.
    if not expected or not hmac.compare_digest((key or "").encode("latin-1"), os.fsencode(expected)):
        raise HTTPException(401, "X-API-Key is missing or wrong", {"WWW-Authenticate": "ApiKey"})


class LeanRoute(APIRoute):
    """Documented as any route of FastAPI, and called with what it needs: solving its parameters took half of a call.

    Its endpoint takes the queue, the request, and the three headers, as `publish_message` does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            given = [request.headers.get(name) for name in ("x-api-key", "x-message-id", "traceparent")]
            response: Response = await endpoint(request.path_params["queue"], request, *given)
            return response

        return handle


Key = Annotated[str | None, Security(_api_key)]
Traceparent = Annotated[
    str | None, Header(description="W3C trace context, passed on with the message; ignored if it is none.")
]
_publishing = APIRouter(route_class=LeanRoute)


@_publishing.post(
    "/queues/{queue}/messages",
    status_code=202,
    tags=["messages"],
    response_model=Accepted,
    responses=RESPONSES,
    openapi_extra={"requestBody": _BODY},
)
async def publish_message(
    queue: str,
    request: Request,
    key: Key,
    x_message_id: Annotated[
        str | None,
        Header(
            description="1 to 128 visible ASCII characters; the same when you try again.",
            json_schema_extra={"pattern": f"^{MESSAGE_ID.pattern}$"},  # checked below, for an answer in plain words
        ),
    ] = None,
    traceparent: Traceparent = None,
) -> Response:
    """Publish a message. 202 means that the broker has it safely."""
    publisher = publisher_for(queue, request, key)
    if x_message_id is not None and not MESSAGE_ID.fullmatch(x_message_id):
        raise HTTPException(422, "X-Message-Id must have 1 to 128 visible ASCII characters")
    body = await read(request, publisher.config.max_message_bytes)
    check(request, queue, body)
    try:
        sent = await publisher.publish_message(queue, body, message_id=x_message_id, headers=headers_with(traceparent))
    except MessageTooLargeError as error:
        raise HTTPException(413, str(error)) from None
    except PublishError as error:
        return _unavailable(error)
    # A response of our own, as FastAPI would validate what it is given before it writes it.
    return Response(Accepted(message_id=sent).model_dump_json(), 202, media_type="application/json")


def publisher_for(queue: str, request: Request, key: str | None) -> QueuePublisher:
    """The publisher of a queue for somebody with that key. Raises HTTPException."""
    check_api_key(key)
    service: QueueService = request.app.state.queue_service
    try:
        publisher = service.publisher(queue)
    except UnknownQueueError as error:
        raise HTTPException(404, str(error)) from None
    except PublisherDisabledError as error:
        raise HTTPException(409, str(error)) from None
    if service.role is Role.WORKER:
        raise HTTPException(409, "this process is a worker (QUEUE_ROLE) and does not publish over HTTP")
    return publisher


def check(request: Request, queue: str, body: bytes) -> None:
    """Raise HTTPException if no handler of the queue can take the message; of a queue without, if it is no message."""
    service: QueueService = request.app.state.queue_service
    try:
        if service.dispatcher.handler(queue) is None:
            decode(body)
        else:
            service.dispatcher.resolve(queue, body)
    except InvalidMessageError as error:
        raise HTTPException(422, str(error)) from None
    except BaseException as error:  # nothing was awaited, so it is the model's own: a validator may raise anything
        logger.exception("%s: the model of a message raised", queue)
        raise HTTPException(422, f"the message's model raised {type(error).__name__}") from None


def headers_with(traceparent: str | None) -> dict[str, str] | None:
    """A message's headers with that trace context, if it is one."""
    return {"traceparent": traceparent} if traceparent and TRACEPARENT.fullmatch(traceparent) else None


async def publish_failed(_: Request, error: Exception) -> Response:
    """The answer to a PublishError that a route of yours lets through: 503, as above; 413 if it is too large."""
    assert isinstance(error, PublishError)
    if isinstance(error, MessageTooLargeError):
        return JSONResponse({"detail": str(error)}, 413)
    return _unavailable(error)


def _unavailable(error: PublishError) -> Response:
    problem = Unavailable(detail=said(error), message_id=error.message_id, may_have_landed=error.may_have_landed)
    return Response(problem.model_dump_json(), 503, retry_after(error), media_type="application/json")


def said(error: PublishError) -> str:
    """What a client is told of it."""
    return f"{error}; it may have landed all the same" if error.may_have_landed else str(error)


def retry_after(error: PublishError) -> dict[str, str]:
    """The header that says when to try again."""
    seconds = math.ceil(error.retry_after) if isinstance(error, CircuitOpenError) else RETRY_AFTER
    return {"Retry-After": str(max(1, seconds))}


async def read(request: Request, limit: int) -> bytes:
    """The body, as far as it is allowed to go: no more than `limit` bytes are ever kept."""
    too_large = HTTPException(413, f"the body may have {limit} bytes at most")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except ClientDisconnect:
        raise HTTPException(400, "the client went away before its body had arrived") from None
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_TIMEOUT:g} s") from None
    return bytes(body)


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """The counters of `instrumentation/prometheus.py`."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


router.include_router(_publishing)
