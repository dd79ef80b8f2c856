"""Every route of version 1, under /api/v1."""

from fastapi import APIRouter

from app.api.routing import MarqetRoute

api = APIRouter(prefix="/api/v1", route_class=MarqetRoute)
