"""The pages on which the owner of this router logs in and lets an app, or a device, have a key (api.md 12)."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from ..devices import Device
from ..errors import BadRequest, Forbidden, Unauthenticated
from ..identity import Identity
from ..prices import picodollars
from ..sessions import COOKIE, LIFE_S, Session
from . import Request, Route
from .grants import App, agree, app_of, back_to
from .key_settings import Usd
from .keys import MANAGE
from .pages import complaint, for_people, form_of, hidden, page

RESETS = {"": "never", "daily": "every day", "weekly": "every week", "monthly": "every month"}
#: what an app says of itself on the way to the page, and the page back to us
ASKED = ("callback_url", "code_challenge", "code_challenge_method")


# --- apps ------------------------------------------------------------------------------------------------------------


@for_people
async def ask(request: Request) -> web.StreamResponse:
    """GET /auth: may this app have a key?"""
    query = request.http.query
    app = _app(query)
    limit = query.get("limit") or ""
    _limit(limit)
    found = _session(request)
    if found is None:
        return _login_first(request)
    session, _ = found
    where = "" if app.callback_url is None else f" at <strong>{escape(app.name)}</strong>"
    body = (
        f"<p>An app{where} asks for a key to this router. With it, it can ask all models here, and you pay what that costs."
        " Go on only if you have just started this in the app.</p>"
        f'<form method="post" action="/auth">{hidden(csrf=session.csrf, **{name: query.get(name) for name in ASKED})}'
        + _settings(query.get("key_label") or app.name[:90], limit)
        + _buttons()
    )
    title = f"Give {app.name} a key?" if app.callback_url is not None else "Give an app on this computer a key?"
    return page(title, body, form_to=app.source)


@for_people
async def answer(request: Request) -> web.StreamResponse:
    """POST /auth: what the owner says."""
    form = await form_of(request.http)
    owner = _owner(request, form)
    app = _app(form)
    if form.get("decision") != "allow":
        if app.callback_url is None:
            return page("No key was given", "<p>You can close this page.</p>")
        return web.Response(status=302, headers={"Location": back_to(app.callback_url, "error", "access_denied")})
    code, _ = await agree(request, owner, app, _granted(form))
    if app.callback_url is not None:
        return web.Response(status=302, headers={"Location": back_to(app.callback_url, "code", code)})
    return page(
        "Your code",
        f"<p>Copy this code into the app. It holds for ten minutes and can be used once.</p><p><code>{escape(code)}</code></p>",
    )


def _app(fields: Any) -> App:
    return app_of(*(fields.get(name) or None for name in ASKED))


# --- devices ---------------------------------------------------------------------------------------------------------


@for_people
async def ask_for_device(request: Request) -> web.StreamResponse:
    """GET /auth/device: which device, and may it have a key?"""
    found = _session(request)
    if found is None:
        return _login_first(request)
    typed = request.http.query.get("user_code")
    device = request.server.devices.find(typed) if typed else None
    if device is None:
        return _which_device("no device waits with this code; is it typed as it is shown?" if typed else "")
    session, _ = found
    body = (
        f"<p>It calls itself <strong>{escape(device.client_name)}</strong> and shows the code"
        f" <strong>{escape(device.user_code)}</strong>. With a key it can ask all models here, and you pay what that costs."
        " Go on only if you have just started this yourself and see the same code there.</p>"
        f'<form method="post" action="/auth/device">{hidden(csrf=session.csrf, user_code=device.user_code)}'
        + _settings(device.client_name, "")
        + _buttons()
    )
    return page("Give this device a key?", body)


@for_people
async def answer_device(request: Request) -> web.StreamResponse:
    """POST /auth/device: what the owner says."""
    form = await form_of(request.http)
    owner = _owner(request, form)
    device: Device | None = request.server.devices.find(form.get("user_code", ""))
    if device is None:
        return _which_device("this device does not wait any more; start again there", status=404)
    if form.get("decision") != "allow":
        device.state = "denied"
        return page("No key was given", "<p>You can close this page.</p>")
    settings = {"name": device.client_name, **_granted(form)}
    request.server.keys.check(management=False, **settings)
    device.settings, device.granted_by, device.state = settings, owner.hash, "approved"
    return page("The device gets its key", "<p>You can close this page.</p>")


def _which_device(message: str, *, status: int = 200) -> web.Response:
    return page(
        "Which device?",
        complaint(message)
        + '<form method="get" action="/auth/device"><label for="user_code">The code that it shows</label>'
        '<input id="user_code" name="user_code" required autofocus autocomplete="off" spellcheck="false">'
        '<button class="main">Go on</button></form>',
        status=status,
    )


# --- what both ask ---------------------------------------------------------------------------------------------------


def _settings(name: str, limit: str) -> str:
    """Fields for what the key shall be."""
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in RESETS.items())
    return (
        '<label for="name">Name of the key</label>'
        f'<input id="name" name="key_label" maxlength="100" required value="{escape(name)}">'
        '<label for="limit">Most that it may spend, in USD</label>'
        f'<input id="limit" name="limit" type="number" min="0" step="any" value="{escape(limit)}">'
        "<small>Empty: no limit.</small>"
        f'<label for="reset">Starts again from zero</label><select id="reset" name="limit_reset">{options}</select>'
    )


def _buttons() -> str:
    return (
        '<button class="main" name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny" formnovalidate>Deny</button></form>'
    )


def _granted(form: dict[str, str]) -> dict[str, Any]:
    """What the owner has typed, as members of Identity. Raises BadRequest."""
    settings: dict[str, Any] = {"limit": _limit(form.get("limit", "")), "limit_reset": form.get("limit_reset") or None}
    if form.get("key_label"):
        settings["name"] = form["key_label"]
    return settings


def _limit(text: str) -> int | None:
    try:
        return picodollars(msgspec.convert(text.strip(), Usd, strict=False)) if text.strip() else None
    except (msgspec.ValidationError, ValueError):
        raise BadRequest("the limit is an amount in USD, from 0 on", param="limit") from None


# --- who sits there --------------------------------------------------------------------------------------------------


@for_people
async def log_in(request: Request) -> web.StreamResponse:
    """POST /auth/login: a management key for a session."""
    server, http = request.server, request.http
    form = await form_of(http)
    back = _local(form.get("next", ""))
    if http.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("log in on this router's own page")
    server.throttle.check(http.remote)
    identity = server.keys.find(form.get("key", "").strip())
    if identity is None or not identity.management or not identity.usable(server.clock.wall()):
        server.throttle.count(http.remote)
        return _login(back, "this is no valid management key of this router", status=401)
    response = web.Response(status=303, headers={"Location": back})
    secure = http.secure or request.origin.startswith("https:")
    response.set_cookie(
        COOKIE, server.sessions.begin(identity), max_age=LIFE_S, httponly=True, samesite="Strict", secure=secure
    )
    return response


@for_people
async def log_out(request: Request) -> web.StreamResponse:
    """POST /auth/logout: end the session."""
    form = await form_of(request.http)
    if (found := _session(request)) is not None:
        if not found[0].vouches(form.get("csrf")):
            raise Forbidden("this form is too old; load the page again")
        request.server.sessions.end(request.http.cookies[COOKIE])
    response = page("Logged out", "<p>You can close this page.</p>")
    response.del_cookie(COOKIE)
    return response


def _session(request: Request) -> tuple[Session, Identity] | None:
    return request.server.sessions.find(request.http.cookies.get(COOKIE))


def _owner(request: Request, form: dict[str, str]) -> Identity:
    """Whose form this is. Raises Unauthenticated, Forbidden."""
    found = _session(request)
    if found is None:
        raise Unauthenticated("the session is over; load the page again and log in")
    session, owner = found
    if not session.vouches(form.get("csrf")):
        raise Forbidden("this form is too old; load the page again")
    if MANAGE not in owner.scopes:
        raise Forbidden(f"the key of this session lacks the scope {MANAGE!r}")
    return owner


def _login_first(request: Request) -> web.Response:
    """The login, which leads back. A browser that comes from elsewhere is asked again: it has kept the cookie to itself."""
    if request.http.headers.get("Sec-Fetch-Site") == "cross-site" and request.http.method == "GET":
        return page("One moment", "<p>This page loads again.</p>", head='<meta http-equiv="refresh" content="0">')
    query = urlencode(list(request.http.query.items()))
    return _login(f"{request.http.path}?{query}" if query else request.http.path, "")


def _login(back: str, message: str, *, status: int = 200) -> web.Response:
    return page(
        "Log in to this router",
        complaint(message) + f'<form method="post" action="/auth/login">{hidden(next=back)}'
        # For the keepers of passwords, which want a name beside one.
        '<input name="user" autocomplete="username" value="management key" hidden>'
        '<label for="key">Management key</label>'
        '<input id="key" name="key" type="password" required autofocus autocomplete="current-password">'
        "<small><code>router keys create --management --name me</code> makes one.</small>"
        '<button class="main">Log in</button></form>',
        status=status,
    )


def _local(path: str) -> str:
    """A path of our own, and never another host."""
    if (
        path.startswith("/")
        and not path.startswith("//")
        and path.isprintable()
        and "\\" not in path
        and path.isascii()
    ):
        return path
    return "/auth/device"


ROUTES = [
    Route(method=method, path=path, handler=handler, scope="public", prefixes=("",))
    for method, path, handler in (
        ("GET", "/auth", ask),
        ("POST", "/auth", answer),
        ("POST", "/auth/login", log_in),
        ("POST", "/auth/logout", log_out),
        ("GET", "/auth/device", ask_for_device),
        ("POST", "/auth/device", answer_device),
    )
]
