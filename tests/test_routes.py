"""Every path that the router answers, and who may ask it: a list to read, and the router must agree with it.

A new route is written down here, with its access: a scope of keys, "any" (any valid key), "management" (any management key; loopback
needs none) or "public" (no key at all). Whether it holds is found out by asking.
"""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from router.app import application
from router.errors import BadRequest
from router.identity import INFERENCE_SCOPES, MANAGEMENT_SCOPES, SCOPES
from router.server import Server
from router.settings import Settings
from router.store.keys import scopes_of
from router.testing import Running

Start = Callable[..., Awaitable[Running]]

ECHO = {"echo": {"plugin": "echo"}}
BOTH = ("/v1", "/api/v1")
ANTHROPIC = (*BOTH, "/anthropic/v1")
BETA = ("/v1beta", "/api/v1beta")
GEMINI = (*BOTH, *BETA)

#: access: method and path below these prefixes
ROUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "public": {
        "GET /healthz": ("",),
        "GET /openapi.json": ("",),
        "GET /openapi.yaml": ("",),
        "GET /auth": ("",),
        "POST /auth": ("",),
        "POST /auth/login": ("",),
        "POST /auth/logout": ("",),
        "GET /auth/device": ("",),
        "POST /auth/device": ("",),
        "POST /auth/keys/exchange": BOTH,
        "POST /credits/coinbase/webhook": BOTH,
        "POST /auth/cli/device/start": BOTH,
        "POST /auth/cli/device/token": BOTH,
    },
    "management": {
        "GET /metrics": ("",),
    },
    "any": {
        "GET /health": ("", *BOTH),
        "GET /key": BOTH,
        "GET /auth/key": BOTH,
        "GET /videos": BOTH,
        "POST /videos": BOTH,
        "GET /videos/{rest}": BOTH,
        "POST /videos/{rest}": BOTH,
        "DELETE /videos/{rest}": BOTH,
        "GET /realtime": BOTH,
        "POST /realtime": BOTH,
        "GET /realtime/{rest}": BOTH,
        "POST /realtime/{rest}": BOTH,
    },
    "models:read": {
        "GET /models": (*ANTHROPIC, *BETA),
        "GET /models/{id}": (*ANTHROPIC, *BETA),
        "GET /models/count": BOTH,
        "GET /models/user": BOTH,
        "GET /models/{id}/endpoints": BOTH,
        "GET /model/{id}": BOTH,
        "GET /endpoints": BOTH,
        "GET /endpoints/zdr": BOTH,
        "GET /embeddings/models": BOTH,
        "GET /providers": BOTH,
    },
    "guardrails:manage": {
        "GET /guardrails": BOTH,
        "POST /guardrails": BOTH,
        "GET /guardrails/assignments/keys": BOTH,
        "GET /guardrails/assignments/members": BOTH,
        "GET /guardrails/{id}": BOTH,
        "PATCH /guardrails/{id}": BOTH,
        "DELETE /guardrails/{id}": BOTH,
        "GET /guardrails/{id}/assignments/keys": BOTH,
        "POST /guardrails/{id}/assignments/keys": BOTH,
        "POST /guardrails/{id}/assignments/keys/remove": BOTH,
        "GET /guardrails/{id}/assignments/members": BOTH,
        "POST /guardrails/{id}/assignments/members": BOTH,
        "POST /guardrails/{id}/assignments/members/remove": BOTH,
        "GET /guardrails/{id}/keys": BOTH,
        "POST /guardrails/{id}/keys": BOTH,
        "POST /guardrails/{id}/keys/remove": BOTH,
        "GET /guardrails/{id}/members": BOTH,
        "POST /guardrails/{id}/members": BOTH,
        "POST /guardrails/{id}/members/remove": BOTH,
    },
    "config:manage": {
        "GET /api/webhooks/endpoints": ("",),
        "POST /api/webhooks/endpoints": ("",),
        "GET /api/webhooks/endpoints/{id}": ("",),
        "PATCH /api/webhooks/endpoints/{id}": ("",),
        "DELETE /api/webhooks/endpoints/{id}": ("",),
        "POST /api/webhooks/endpoints/{id}/rotate-secret": ("",),
        "POST /api/webhooks/test-connection": ("",),
        "POST /api/webhooks/test-event": ("",),
        "GET /observability/destinations": BOTH,
        "POST /observability/destinations": BOTH,
        "GET /observability/destinations/{id}": BOTH,
        "PATCH /observability/destinations/{id}": BOTH,
        "DELETE /observability/destinations/{id}": BOTH,
        "POST /admin/reload": BOTH,
        "GET /admin/config": BOTH,
        "GET /workspaces": BOTH,
        "POST /workspaces": BOTH,
        "GET /workspaces/{id}": BOTH,
        "PATCH /workspaces/{id}": BOTH,
        "DELETE /workspaces/{id}": BOTH,
        "GET /workspaces/{id}/budgets": BOTH,
        "GET /workspaces/{id}/budgets/{interval}": BOTH,
        "PUT /workspaces/{id}/budgets/{interval}": BOTH,
        "DELETE /workspaces/{id}/budgets/{interval}": BOTH,
        "GET /workspaces/{id}/members": BOTH,
        "POST /workspaces/{id}/members/add": BOTH,
        "POST /workspaces/{id}/members/remove": BOTH,
        "GET /organization/members": BOTH,
        "GET /byok": BOTH,
        "POST /byok": BOTH,
        "GET /byok/{id}": BOTH,
        "PATCH /byok/{id}": BOTH,
        "DELETE /byok/{id}": BOTH,
        "GET /presets": BOTH,
        "GET /presets/{slug}": BOTH,
        "PATCH /presets/{slug}": BOTH,
        "DELETE /presets/{slug}": BOTH,
        "GET /presets/{slug}/versions": BOTH,
        "GET /presets/{slug}/versions/{version}": BOTH,
        "POST /presets/{slug}/chat/completions": BOTH,
        "POST /presets/{slug}/messages": BOTH,
        "POST /presets/{slug}/responses": BOTH,
    },
    "logs:read": {
        "POST /simulate": BOTH,
        "GET /logs": BOTH,
        "GET /generation/content": BOTH,
    },
    "credits:read": {
        "GET /credits": BOTH,
        "GET /balance": BOTH,
        "GET /user/balance": BOTH,
    },
    "usage:read": {
        "GET /transactions": BOTH,
        "GET /activity": BOTH,
        "GET /usage": BOTH,
        "GET /usage/summary": ("/api",),
        "GET /usage/timeseries": ("/api",),
        "GET /analytics/meta": BOTH,
        "POST /analytics/query": BOTH,
    },
    "billing:manage": {
        "POST /credits/coinbase": BOTH,
        "POST /credits": BOTH,
    },
    "generation:read": {
        "GET /generation": BOTH,
        "POST /generation/feedback": BOTH,
        "GET /generation/{id}": BOTH,
    },
    "keys:manage": {
        "GET /keys": BOTH,
        "POST /keys": BOTH,
        "POST /auth/keys": BOTH,
        "POST /auth/keys/code": BOTH,
        "GET /keys/{hash}": BOTH,
        "PATCH /keys/{hash}": BOTH,
        "PUT /keys/{hash}": BOTH,
        "DELETE /keys/{hash}": BOTH,
        "DELETE /auth/keys/{hash}": BOTH,
        "POST /keys/{hash}/rotate": BOTH,
        "POST /keys/{hash}/reveal": BOTH,
    },
    "inference": {
        "POST /chat/completions": BOTH,
        "POST /completions": BOTH,
        "POST /responses": BOTH,
        "GET /responses/{id}": BOTH,
        "DELETE /responses/{id}": BOTH,
        "POST /responses/{id}/cancel": BOTH,
        "GET /responses/{id}/input_items": BOTH,
        "POST /embeddings": BOTH,
        "POST /rerank": BOTH,
        "POST /moderations": BOTH,
        "POST /audio/speech": BOTH,
        "POST /audio/transcriptions": BOTH,
        "POST /audio/translations": BOTH,
        "POST /images": BOTH,
        "POST /images/generations": BOTH,
        "POST /images/edits": BOTH,
        "POST /explain": BOTH,
        "POST /messages": ANTHROPIC,
        "POST /messages/count_tokens": ANTHROPIC,
        "POST /{model}:generateContent": GEMINI,
        "POST /{model}:embedContent": GEMINI,
        "POST /{model}:batchEmbedContents": GEMINI,
        "POST /{model}:streamGenerateContent": GEMINI,
        "POST /{model}:countTokens": GEMINI,
    },
}

#: what every client API finds enough in to ask whether the key may
BODY = {
    "model": "echo/echo",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hello"}],
    "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
    "input": "hello",
    "query": "hello",
    "documents": ["hello"],
}
#: and those for which this is too much
PROMPT = {"model": "echo/echo", "prompt": "hello"}
BODIES = {"/completions": PROMPT, "/images": PROMPT, "/images/generations": PROMPT}
#: paths with ids of models, which have slashes
MODELS = r"/models?/|/\{model\}|/videos/|/realtime/"
#: and those that want a form of several parts
FORMS = ("/audio/transcriptions", "/audio/translations", "/images/edits")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[web.Application]:
    """The application without a socket."""
    settings = Settings(providers=ECHO)
    settings.server.database = str(tmp_path / "router.db")
    server = Server(settings, {})
    await server.start()
    yield application(server)
    await server.stop()


def listed() -> dict[str, str]:
    """The list above as "METHOD /whole/path": access."""
    return {
        f"{method} {prefix}{path}": access
        for access, routes in ROUTES.items()
        for name, prefixes in routes.items()
        for method, path in [name.split(" ")]
        for prefix in prefixes
    }


def mounted(app: web.Application) -> dict[str, web.AbstractRoute]:
    """Every route of the application, HEADs and slashes at the end included."""
    found = {}
    for route in app.router.routes():
        assert route.resource is not None
        name = f"{route.method} {route.resource.canonical}"
        assert name not in found, f"{name} is there twice: the second is never asked"
        found[name] = route
    return found


async def test_every_route_is_on_the_list_and_the_other_way_round(app: web.Application) -> None:
    names = {name for name in mounted(app) if not name.endswith("/") and not name.startswith("HEAD ")}

    assert names - listed().keys() == set(), "write these down, with who may ask them"
    assert listed().keys() - names == set(), "these are written down and not there"


def test_every_route_is_in_the_documentation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text()

    documented = {
        f"{method} {prefix}{path}"
        for row in re.findall(r"^\|(.*`.*)\|$", page, re.MULTILINE)
        for names, below, _ in [row.split("|")]
        for method, path in re.findall(r"`([A-Z]+) (\S+)`", names)
        for prefix in re.findall(r"`(\S+)`", below) or [""]
    }

    assert listed().keys() - documented == set(), "docs/api.md lacks these"
    assert documented - listed().keys() == set(), "docs/api.md has these, the router does not"


async def test_a_head_and_a_slash_are_the_same_route(app: web.Application) -> None:
    routes = mounted(app)

    for name, route in routes.items():
        method, path = re.sub(r"{\w+}", "a", name).split(" ", 1)
        if method == "GET":
            assert routes[f"HEAD {name[4:]}"].handler is route.handler
        slashed = await app.router.resolve(make_mocked_request(method, path.rstrip("/") + "/"))
        if slashed.handler is not route.handler:  # a path before it in the table fits what stands for its names
            plain = await app.router.resolve(make_mocked_request(method, path))
            assert (slashed.http_exception, slashed.handler) == (None, plain.handler), name


@pytest.mark.timeout(150)  # some thousand requests, on a machine that may be busy
async def test_who_may_ask_each_route(start: Start) -> None:
    """By asking: without a key, with a key of each kind for each scope that it can have, and with those that have them all."""
    router = await start(providers=ECHO)
    keys = {
        (kind, scope): (await create(f"{kind} {scope}", management=kind == "management", scopes=frozenset({scope})))[0]
        for create in [router.server.keys.create]
        for kind in ("regular", "management")
        for scope in sorted(scopes_of(management=kind == "management"))
    }

    found = {}
    for name in listed():
        found[name] = await access(router, name, keys)

    assert found == listed()


@pytest.mark.parametrize("management", [False, True])
async def test_no_key_makes_calls_and_manages(start: Start, management: bool) -> None:
    router = await start(providers=ECHO)

    for scope in set(SCOPES) - scopes_of(management=management):
        with pytest.raises(BadRequest, match="cannot have the scope"):
            await router.server.keys.create("both", management=management, scopes=frozenset({scope}))


async def access(router: Running, name: str, keys: dict[tuple[str, str], str]) -> str:
    """Who may ask a route, in the words of the list."""

    async def ask(key: str | None) -> int:
        method, path = name.split(" ")
        url = URL(router.url + re.sub(r"\{\w+\}", "echo/echo" if re.search(MODELS, path) else "none-1", path))
        # As a proxy would ask for somebody elsewhere.
        headers = {"X-Forwarded-For": "203.0.113.9", **({"x-api-key": key} if key else {})}
        below = re.sub(r"^(/api)?/v1", "", path)
        body = BODIES.get(below, BODY) if method == "POST" and below not in FORMS else None
        form = FormData(PROMPT | {"file": io.BytesIO(b"a file")}) if below in FORMS else None
        async with router.session.request(method, url, json=body, data=form, headers=headers) as answer:
            await answer.read()
            assert answer.status < 500 or answer.status == 501, name
            return answer.status

    if await ask(None) != 401:
        return "public"
    assert await ask("sk-rt-v1-nobody") == 401
    may = {each for each, key in keys.items() if await ask(key) != 403}
    if may == keys.keys():
        return "any"
    if may == {each for each in keys if each[0] == "management"}:
        return "management"
    scopes = {scope for _, scope in may}
    assert may == {each for each in keys if each[1] in scopes}, f"{name}: a scope means the same on both kinds of keys"
    assert len(scopes) == 1, (name, scopes)
    assert (await ask(router.management) == 403) is not (scopes <= MANAGEMENT_SCOPES), name
    assert (await ask(router.key) == 403) is not (scopes <= INFERENCE_SCOPES), name
    return scopes.pop()
