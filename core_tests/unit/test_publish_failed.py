"""A publish that fails in a route: `app.add_exception_handler(PublishError, publish_failed)`."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.queue.api import publish_failed
from app.queue.errors import CircuitOpenError, MessageTooLargeError, PublishError


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "landed"),
    [
        (PublishError("no confirm", message_id="an-id", may_have_landed=True), 503, "5", True),
        (CircuitOpenError("not even tried", message_id="an-id", retry_after=2.3), 503, "3", False),
        (MessageTooLargeError("2 MB", message_id="an-id"), 413, None, None),
    ],
)
def test_it_is_a_503_that_says_what_to_do(
    error: PublishError, status: int, retry_after: str | None, landed: bool | None
) -> None:
    app = FastAPI()
    app.add_exception_handler(PublishError, publish_failed)

    @app.get("/order")
    def order() -> None:
        raise error

    answer = TestClient(app).get("/order")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
    assert str(error) in answer.json()["detail"]
    assert answer.json().get("may_have_landed") == landed
