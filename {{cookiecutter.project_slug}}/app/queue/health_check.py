# The template's: an update changes it. Which files are yours: README.md.
"""`/health/queue`, `/health/ready` and `/health/live`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.queue.run.health import Health

router = APIRouter(prefix="/health", tags=["health"])


class Liveness(BaseModel):
    """The process runs."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether traffic should come here, and why not."""

    status: Literal["ready", "starting", "draining", "unhealthy"]


@router.get("/live")
async def live() -> Liveness:
    """200 for as long as the process answers at all."""
    return Liveness()


@router.get("/ready", responses={503: {"model": Readiness, "description": "Starting, draining or unhealthy"}})
async def ready(request: Request, response: Response) -> Readiness:
    """200 when traffic should come here."""
    readiness = Readiness(status=request.app.state.queue_service.readiness())
    response.status_code = 200 if readiness.status == "ready" else 503
    return readiness


@router.get("/queue", responses={503: {"model": Health, "description": "At least one queue is unhealthy"}})
async def queue(request: Request, response: Response) -> Health:
    """The state of every queue."""
    health: Health = request.app.state.queue_service.health()
    response.status_code = 200 if health.status == "healthy" else 503
    return health
