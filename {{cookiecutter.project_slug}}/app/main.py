"""The application: yours to extend with routes, middleware and whatever else FastAPI offers."""

from fastapi import FastAPI

from app.queue.setup import lifespan_handler

app = FastAPI(title="Queue Service", lifespan=lifespan_handler)
