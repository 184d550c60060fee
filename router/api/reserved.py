"""Paths that the contract reserves and nobody serves (api.md 9): videos and realtime."""

from __future__ import annotations

from typing import NoReturn

from ..errors import NotImplementedHere
from . import Request, Route


async def nobody(request: Request) -> NoReturn:
    """Raises NotImplementedHere."""
    raise NotImplementedHere("videos and realtime connections are not served here")


ROUTES = [
    Route(method=method, path=path, handler=nobody, scope="any")
    for path, methods in (
        ("/videos", ("GET", "POST")),
        ("/videos/{rest:.+}", ("GET", "POST", "DELETE")),
        ("/realtime", ("GET", "POST")),
        ("/realtime/{rest:.+}", ("GET", "POST")),
    )
    for method in methods
]
