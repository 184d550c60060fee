"""Keys that apps get without seeing a management key (PKCE, api.md 12): who may ask, codes, and their exchange."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from ..errors import BadRequest, Conflict, Forbidden
from ..identity import Identity
from ..prices import picodollars
from ..store.audit import Change
from ..store.codes import Code
from . import Request, Route, typed
from .belonging import lies_in_what_is_there
from .key_settings import KeySettings, Name, NewKey, Reset, Text, Usd, expires_unix
from .keys import MANAGE, KeyMade, create
from .moments import moment

LOCAL = ("localhost", "127.0.0.1", "::1")
#: ports of apps elsewhere
PORTS = (None, 443, 3000)
APP_ID = 1
Method = Literal["S256", "plain"]
Challenge = Annotated[str, Meta(min_length=1, max_length=256)]
Secret = Annotated[str, Meta(max_length=1000)]


class App(Struct, frozen=True):
    """Who asks for a key. `name`: where the code goes; `source`: the same for a Content-Security-Policy."""

    name: str
    source: str
    callback_url: str | None
    challenge: str | None
    method: str | None


class NewCode(Struct, kw_only=True, forbid_unknown_fields=True):
    """What an app asks for, and what the owner allows it: a key with this limit (USD), until then."""

    callback_url: str | None = None
    code_challenge: Challenge | None = None
    code_challenge_method: Method | None = None
    limit: Usd | None = None
    usage_limit_type: Reset | None = None
    expires_at: str | None = None
    key_label: Name | None = None
    workspace_id: Text | None = None
    spawn_agent: str | None = None
    spawn_cloud: str | None = None


class CodeData(Struct):
    """The code, as its id."""

    id: str
    app_id: int
    created_at: str


class CodeMade(Struct):
    """A new code."""

    data: CodeData


class Exchange(Struct, kw_only=True):
    """A code, and the secret that its challenge was made of."""

    code: Secret
    code_verifier: Secret | None = None
    code_challenge_method: Method | None = None


class KeyAlone(Struct):
    """A key."""

    key: str


class Exchanged(Struct):
    """The key that a code was exchanged for."""

    key: str
    data: KeyAlone
    user_id: str | None = None


class NewKeyOrCode(KeySettings, kw_only=True, forbid_unknown_fields=False):
    """With `code` an exchange, which needs no key; else a new key, for which `name` is needed."""

    code: Secret | None = None
    code_verifier: Secret | None = None
    code_challenge_method: Method | None = None


# --- who asks --------------------------------------------------------------------------------------------------------


def app_of(callback_url: str | None, challenge: str | None, method: str | None) -> App:
    """The app, if it may be answered at all. Raises BadRequest with `param`."""
    if method is not None and challenge is None:
        raise BadRequest("code_challenge_method is given and code_challenge is not", param="code_challenge")
    if method not in (None, "S256", "plain"):
        raise BadRequest("code_challenge_method is S256 or plain", param="code_challenge_method")
    if challenge is not None and not 1 <= len(challenge) <= 256:
        raise BadRequest("code_challenge has 1 to 256 characters", param="code_challenge")
    method = (method or "plain") if challenge is not None else None
    if callback_url is None:
        if challenge is None:
            raise BadRequest("without callback_url a code_challenge is needed", param="code_challenge")
        return App("an app on this computer", "", None, challenge, method)
    name, source = _destination(callback_url)
    return App(name, source, callback_url, challenge, method)


def _destination(url: str) -> tuple[str, str]:
    """Host and port of a callback, and its source. What a browser might read otherwise than we do is refused."""
    wrong = BadRequest(
        "callback_url must be https (port 443 or 3000), or http(s) on localhost, 127.0.0.1 or [::1], without fragment",
        param="callback_url",
    )
    if len(url) > 2000 or not re.fullmatch(r"https?://[!-~]+", url, re.IGNORECASE) or re.search(r"[\\#<>\"]", url):
        raise wrong
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    local = host in LOCAL
    if "@" in parts.netloc or not (
        local or re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*", host)
    ):
        raise wrong
    if not local and (parts.scheme != "https" or port not in PORTS):
        raise wrong
    # A Content-Security-Policy cannot name IPv6 addresses.
    return parts.netloc.lower(), f"{parts.scheme}:" if ":" in host else f"{parts.scheme}://{parts.netloc.lower()}"


def back_to(callback_url: str, name: str, value: str) -> str:
    """The callback with one more member in its query."""
    return f"{callback_url}{'&' if '?' in callback_url else '?'}{name}={value}"


# --- codes -----------------------------------------------------------------------------------------------------------


async def agree(request: Request, owner: Identity, app: App, settings: dict[str, Any]) -> tuple[str, Code]:
    """A code for a key with these settings, which the owner of a management key allows. Raises BadRequest."""
    settings = {"name": app.name[:90], **settings}
    request.server.keys.check(management=False, **settings)
    lies_in_what_is_there(request, settings)
    change = request.change("code.create", "")
    change.actor = owner.hash
    return await request.server.codes.make(owner.hash, settings, change, challenge=app.challenge, method=app.method)


async def make_code(request: Request, body: NewCode) -> CodeMade:
    """A code without a page: whoever asks has agreed by the key that it shows."""
    app = app_of(body.callback_url, body.code_challenge, body.code_challenge_method)
    settings = {
        "name": body.key_label,
        "limit": None if body.limit is None else picodollars(body.limit),
        "limit_reset": body.usage_limit_type,
        "expires_unix": None if body.expires_at is None else expires_unix(body.expires_at),
        "workspace_id": body.workspace_id,
    }
    plain, code = await agree(
        request, request.caller, app, {name: value for name, value in settings.items() if value is not None}
    )
    return CodeMade(CodeData(plain, APP_ID, moment(code.created_unix)))


async def exchange(request: Request, body: Exchange) -> Exchanged:
    """A key for a code, once. Raises Forbidden, Conflict, BadRequest."""
    server, address = request.server, request.http.remote
    server.throttle.check(address)
    async with server.codes.turn:
        code = await server.codes.find(body.code)
        try:
            code = _valid(code, body, server.clock.wall())
        except Forbidden:
            server.throttle.count(address)
            raise
        plain = await grant(request, code.granted_by, code.settings, server.codes.used(code))
    return Exchanged(plain, KeyAlone(plain))


async def grant(request: Request, granted_by: str, settings: dict[str, Any], *also: Any) -> str:
    """The key that somebody has allowed, if he still may. Raises Forbidden."""
    server = request.server
    owner = server.keys.get(granted_by)
    may = owner is not None and owner.usable(server.clock.wall()) and MANAGE in owner.scopes
    if not may and server.settings.auth.mode != "open":
        raise Forbidden("the key of who has allowed this is not valid any more; ask again")
    change: Change = request.change("key.create", "")
    change.actor = granted_by
    try:
        plain, _ = await server.keys.create(change=change, also=also, another=True, **settings)
    except BadRequest as error:
        if error.param != "workspace_id":
            raise
        # Elsewhere it would be outside the budgets that the owner has seen.
        raise Forbidden("the workspace that this key was to lie in was deleted meanwhile; ask again") from None
    return plain


async def make_key_or_exchange(request: Request, body: NewKeyOrCode) -> KeyMade | Exchanged:
    """With a code: its exchange. Else a new key."""
    if body.code is not None:
        return await exchange(
            request,
            Exchange(
                code=body.code, code_verifier=body.code_verifier, code_challenge_method=body.code_challenge_method
            ),
        )
    request.identity = await request.server.identify(request.http, MANAGE)
    request.status = 201
    return await create(request, typed.body_of(request.raw, NewKey))


def _valid(code: Code | None, body: Exchange, now: float) -> Code:
    """The code, if it may be exchanged now."""
    if code is None:
        raise Forbidden("this code is not one of ours", param="code")
    if code.used_unix is not None:
        raise Conflict("this code was used already; ask for another", param="code")
    if now >= code.expires_unix:
        raise Forbidden("this code is over; ask for another", param="code")
    if body.code_challenge_method is not None and body.code_challenge_method != code.method:
        raise BadRequest(f"code_challenge_method was {code.method} for this code", param="code_challenge_method")
    if code.challenge is None:
        if body.code_verifier:
            raise BadRequest("this code was made without a challenge", param="code_verifier")
    elif not _fits(body.code_verifier or "", code.challenge, code.method):
        raise Forbidden("code_verifier does not fit the challenge of this code", param="code_verifier")
    return code


def _fits(verifier: str, challenge: str, method: str | None) -> bool:
    """Was the challenge made of this verifier?"""
    if method == "plain":
        return hmac.compare_digest(verifier.encode(), challenge.encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.translate(str.maketrans("+/", "-_")).rstrip("=").encode())


ROUTES = [
    Route(
        method="POST",
        path="/auth/keys",
        handler=make_key_or_exchange,
        scope="public",
        once=True,
        answers={200: Exchanged, 201: KeyMade},
    ),
    Route(method="POST", path="/auth/keys/code", handler=make_code, scope=MANAGE),
    Route(method="POST", path="/auth/keys/exchange", handler=exchange, scope="public"),
]
