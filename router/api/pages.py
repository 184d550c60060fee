"""Plain pages for people: no script, nothing from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from aiohttp import web

from ..errors import BadRequest, PayloadTooLarge, RouterError
from . import Request

#: forms are small, whatever `server.max_body_mb` says
LARGEST_FORM = 64 * 1024

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 30rem; padding: 2rem 1rem; }
h1 { font-size: 1.4rem; line-height: 1.3; overflow-wrap: anywhere; }
label { display: block; font-weight: 600; margin-top: 1rem; }
small { display: block; opacity: .75; }
input, select { box-sizing: border-box; font: inherit; margin-top: .25rem; padding: .5rem; width: 100%; }
button { font: inherit; margin: 1.5rem .5rem 0 0; padding: .5rem 1.5rem; }
button.main { font-weight: 600; }
code { overflow-wrap: anywhere; user-select: all; }
strong { overflow-wrap: anywhere; }
.wrong { border-left: .25rem solid #c22; padding-left: .75rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def page(title: str, body: str, *, status: int = 200, form_to: str = "", head: str = "") -> web.Response:
    """A page. `body` is HTML, whose texts are escaped already; its forms go to ourselves, and by a redirect to `form_to`."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{head}<style>{STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self' {form_to}".rstrip()
        + "; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Not "no-referrer": browsers would send forms with "Origin: null" then.
        "Referrer-Policy": "same-origin",
    }
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=headers)


def hidden(**fields: str | None) -> str:
    """Hidden fields of a form; those without a value are left out."""
    return "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in fields.items()
        if value is not None
    )


def complaint(message: str) -> str:
    """What is wrong, on top of a form."""
    return f'<p class="wrong" role="alert">{escape(message)}</p>' if message else ""


def for_people(
    handler: Callable[[Request], Awaitable[web.StreamResponse]],
) -> Callable[[Request], Awaitable[web.StreamResponse]]:
    """Print errors of this handler as a page."""

    @functools.wraps(handler)
    async def handle(request: Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RouterError as error:
            answer = page("This did not work", complaint(error.message), status=error.status)
            if error.retry_after_s is not None:
                answer.headers["Retry-After"] = str(int(error.retry_after_s))
            return answer

    return handle


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form. Raises BadRequest, PayloadTooLarge."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadRequest("a form is expected, as the page sends it")
    if request.content_length is None or request.content_length > LARGEST_FORM:
        raise PayloadTooLarge(f"a form has at most {LARGEST_FORM} bytes")
    try:
        fields: Any = await request.post()
    except (ValueError, LookupError):
        raise BadRequest("the form cannot be read") from None
    return {name: value for name, value in fields.items() if isinstance(value, str)}
