"""The application: yours to extend with routes, middleware and whatever else FastAPI offers."""

from fastapi import FastAPI

from app.queue.api import publish_failed
from app.queue.errors import PublishError
from app.queue.setup import lifespan_handler

app = FastAPI(title="Queue Service", lifespan=lifespan_handler)
app.add_exception_handler(PublishError, publish_failed)  # a publish() that fails in a route of yours: 503
