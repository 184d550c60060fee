"""Who may call: every way to present a key, every state a key can be in, and what each kind of key may do."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from router import BadRequest, hookimpl
from router.api import Request, Route
from router.server import Server
from router.serving import listening
from router.settings import AuthSettings, ServerSettings, Settings, SettingsError, load
from router.testing import Running

from .envelopes import google_error, openai_error

Start = Callable[..., Awaitable[Running]]
ASK = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}
ECHO = {"echo": {"plugin": "echo"}}
CHAT, MODELS = "/v1/chat/completions", "/v1/models"


@pytest.fixture
async def router(start: Start) -> Running:
    return await start(providers=ECHO)


async def status(router: Running, headers: dict[str, str] | None = None, query: str = "", path: str = CHAT) -> int:
    """The status of a call, or of another path, with these headers and nothing else."""
    method = "POST" if path == CHAT else "GET"
    json = ASK if path == CHAT else None
    async with router.session.request(method, router.url + path + query, json=json, headers=headers) as answer:
        if answer.status == 401:
            # The list of models is Google's for those who present their keys as Google's clients do.
            google = path == MODELS and ("key=" in query or (headers or {}).keys() == {"X-Goog-Api-Key"})
            await (google_error if google else openai_error)(answer, "authentication")
        return answer.status


# --- ways to present a key -------------------------------------------------------------------------------------------

FORMS = {
    "bearer": lambda key: {"Authorization": f"Bearer {key}"},
    "bearer in lower case": lambda key: {"authorization": f"bearer {key}"},
    "bearer with spaces": lambda key: {"Authorization": f"Bearer   {key} "},
    "x-api-key": lambda key: {"x-api-key": key},
    "x-goog-api-key": lambda key: {"X-Goog-Api-Key": key},
    "the same twice": lambda key: {"Authorization": f"Bearer {key}", "x-api-key": key},
    "an empty one beside it": lambda key: {"Authorization": "Bearer ", "x-api-key": key},
}


@pytest.mark.parametrize("path", [CHAT, MODELS])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_forms_of_a_key(router: Running, form: Callable[[str], dict[str, str]], path: str) -> None:
    assert await status(router, form(router.key), path=path) == 200
    assert await status(router, form("sk-rt-v1-nobody"), path=path) == 401


async def test_a_key_in_the_query(router: Running) -> None:
    assert await status(router, query=f"?key={router.key}") == 200
    assert await status(router, query=f"?key={router.key}", path=MODELS) == 200
    assert await status(router, query="?key=sk-rt-v1-nobody") == 401
    assert await status(router, query="?key=") == 401


@pytest.mark.parametrize(("mode", "chat", "models"), [("off", 401, 401), ("gemini", 401, 200), ("all", 200, 200)])
async def test_where_a_key_in_the_query_counts(start: Start, mode: Any, chat: int, models: int) -> None:
    """`/v1/models` is shared by all surfaces: a key in the query makes it Google's."""
    router = await start(providers=ECHO, auth=AuthSettings(query_key=mode))

    assert await status(router, query=f"?key={router.key}") == chat
    assert await status(router, query=f"?key={router.key}", path=MODELS) == models
    assert await status(router, {"x-api-key": router.key}, query="?key=other") == (401 if mode == "all" else 200)


PAIRS = [
    ({"Authorization": "Bearer {key}", "x-api-key": "other"}, ""),
    ({"Authorization": "Bearer other", "x-goog-api-key": "{key}"}, ""),
    ({"x-api-key": "{key}"}, "?key=other"),
    ({"x-api-key": "{key}", "x-goog-api-key": "{management}"}, ""),
    ({}, "?key={key}&key=other"),
]


@pytest.mark.parametrize(("headers", "query"), PAIRS)
async def test_two_different_keys_are_refused(router: Running, headers: dict[str, str], query: str) -> None:
    keys = {"key": router.key, "management": router.management}
    filled = {name: value.format(**keys) for name, value in headers.items()}

    async with router.session.post(router.url + CHAT + query.format(**keys), json=ASK, headers=filled) as answer:
        error = await openai_error(answer, "authentication")

    assert "two different keys" in error["message"]


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a b", "Bearer \u00e9", "x" * 5000]
)
async def test_malformed_keys(router: Running, value: str) -> None:
    assert await status(router, {"Authorization": value}) == 401
    assert await status(router, {"Authorization": value}, path="/v1/key") == 401


# --- states of a key -------------------------------------------------------------------------------------------------


async def test_the_message_tells_a_missing_key_from_a_wrong_one_and_no_more(router: Running) -> None:
    """Nobody learns whether a key exists, is disabled, or is over."""
    keys = router.server.keys
    disabled, _ = await keys.create("disabled", disabled=True)
    deleted, _ = await keys.create("deleted")
    await keys.delete("deleted")
    over, _ = await keys.create("over", expires_unix=time.time() + 1000)
    router.server.clock.wall = lambda: time.time() + 2000  # type: ignore[method-assign]
    messages = set()

    for key in (disabled, deleted, over, "sk-rt-v1-nobody"):
        async with router.session.post(router.url + CHAT, json=ASK, headers={"x-api-key": key}) as answer:
            messages.add((await openai_error(answer, "authentication"))["message"])
    async with router.session.post(router.url + CHAT, json=ASK) as answer:
        missing = (await openai_error(answer, "authentication"))["message"]

    assert len(messages) == 1
    assert missing not in messages


async def test_a_change_of_a_key_holds_at_once(router: Running) -> None:
    plain, _ = await router.server.keys.create("mine")
    headers = {"x-api-key": plain}

    assert await status(router, headers) == 200
    await router.server.keys.disable("mine")
    assert await status(router, headers) == 401
    await router.server.keys.disable("mine", disabled=False)
    assert await status(router, headers) == 200
    new, _ = await router.server.keys.rotate("mine")
    assert (await status(router, headers), await status(router, {"x-api-key": new})) == (401, 200)
    await router.server.keys.delete("mine")
    assert await status(router, {"x-api-key": new}) == 401


async def test_the_prefix_of_keys_can_be_chosen(start: Start) -> None:
    router = await start(providers=ECHO, auth=AuthSettings(key_prefix="acme"))

    assert router.key.startswith("acme-v1-")
    assert router.management.startswith("acme-mgmt-v1-")
    assert len(router.key.removeprefix("acme-v1-")) == len(router.management.removeprefix("acme-mgmt-v1-")) == 43
    assert await status(router, {"x-api-key": router.key}) == 200


# --- what a key may do -----------------------------------------------------------------------------------------------


async def test_a_management_key_makes_no_calls(router: Running) -> None:
    for body in (ASK, ASK | {"stream": True}):
        error = await openai_error(await router.post(CHAT, body, key=router.management), "permission_denied")
        assert error["code"] == "forbidden"
    for path in (MODELS, "/v1/key", "/v1/providers"):
        assert await status(router, {"x-api-key": router.management}, path=path) == 200


class Managed:
    """A route of the kind that later parts bring: for keys that may manage keys."""

    @hookimpl
    def router_routes(self, app: Any) -> list[Route]:
        async def hello(request: Request) -> dict[str, str]:
            return {"hello": request.caller.name}

        return [Route(method="GET", path="/managed", handler=hello, scope="keys:manage")]


async def test_an_inference_key_manages_nothing(start: Start) -> None:
    router = await start(providers=ECHO, plugins={"managed": Managed()})

    error = await openai_error(await router.get("/api/v1/managed"), "permission_denied")
    assert "keys:manage" in error["message"]
    assert (await router.get("/api/v1/managed", key=router.management)).status == 200
    assert (await router.get("/api/v1/managed", key="nobody")).status == 401


SCOPED = [
    ("inference", 200, 403, 403),
    ("models:read", 403, 200, 403),
    ("generation:read", 403, 403, 404),
]


@pytest.mark.parametrize(("scope", "chat", "models", "generation"), SCOPED)
async def test_scopes(router: Running, scope: str, chat: int, models: int, generation: int) -> None:
    plain, _ = await router.server.keys.create("scoped", scopes=frozenset({scope}))
    headers = {"x-api-key": plain}

    assert await status(router, headers) == chat
    assert await status(router, headers, path=MODELS) == models
    assert await status(router, headers, path="/v1/generation", query="?id=gen-none") == generation
    assert await status(router, headers, path="/v1/key") == 200


async def test_a_key_reports_only_itself_and_its_own_calls(router: Running) -> None:
    plain, identity = await router.server.keys.create("other")
    id = (await router.post(CHAT, ASK)).headers["X-Generation-Id"]

    assert (await (await router.get("/v1/key", key=plain)).json())["data"]["hash"] == identity.hash
    assert (await router.get(f"/v1/generation?id={id}", key=plain)).status == 404
    assert (await router.get(f"/v1/generation/{id}", key=plain)).status == 404
    assert (await router.get(f"/v1/generation?id={id}")).status == 200
    assert (await router.get(f"/v1/generation?id={id}", key=router.management)).status == 200


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"allowed_models": ["openai/*"]}, "model_not_allowed"),
        ({"allowed_models": []}, "model_not_allowed"),
        ({"allowed_providers": ["openai"]}, "provider_not_allowed"),
    ],
)
async def test_restricted_keys(router: Running, settings: dict[str, Any], code: str) -> None:
    plain, _ = await router.server.keys.create("narrow", **settings)

    error = await openai_error(await router.post(CHAT, ASK, key=plain), "permission_denied")

    assert (error["code"], error["param"]) == (code, "model")


async def test_restrictions_that_allow(router: Running) -> None:
    plain, _ = await router.server.keys.create("narrow", allowed_models=["echo/*"], allowed_providers=["echo"])

    assert (await router.post(CHAT, ASK, key=plain)).status == 200


@pytest.mark.parametrize("body", [b"{", b"", b'{"model": 1}'])
async def test_who_may_not_call_hears_it_before_the_body_is_looked_at(router: Running, body: bytes) -> None:
    reader, _ = await router.server.keys.create("reader", scopes=frozenset({"models:read"}))

    lacks = await openai_error(await router.post(CHAT, body, key=reader), "permission_denied")
    manages = await openai_error(await router.post(CHAT, body, key=router.management), "permission_denied")

    assert "'inference'" in lacks["message"]
    assert "use an inference key" in manages["message"]
    assert (await router.post("/v1/messages/count_tokens", body, key=reader)).status == 403
    assert (await router.post(CHAT, body)).status == 400


# --- which paths a key may ask ---------------------------------------------------------------------------------------

GEMINI = "/v1beta/models/echo/echo:generateContent"
ENDPOINTS = [
    (["/chat/completions"], {CHAT, "/api/v1/chat/completions", CHAT + "/", "/v1/key"}),
    (["/v1/chat/*", "/models"], {CHAT, "/api/v1/chat/completions", CHAT + "/", MODELS, "/v1/key"}),
    (["/models/*:generateContent"], {GEMINI, "/v1/models/echo/echo:generateContent", "/v1/key"}),
    (["/messages"], {"/v1/messages", "/anthropic/v1/messages", "/v1/key"}),
    ([], {"/v1/key"}),
]
ASKED = sorted(set.union(*(paths for _, paths in ENDPOINTS)) | {"/v1/responses", "/v1/messages/count_tokens"})


@pytest.mark.parametrize(("allowed", "may"), ENDPOINTS)
async def test_a_key_asks_only_its_allowed_endpoints(router: Running, allowed: list[str], may: set[str]) -> None:
    """On every prefix, and before the body is looked at."""
    plain, _ = await router.server.keys.create("narrow", allowed_endpoints=allowed)

    found = set()
    for path in ASKED:
        method = "GET" if path in (MODELS, "/v1/key") else "POST"
        data = None if method == "GET" else b"{"
        headers = {"x-api-key": plain, "Content-Type": "application/json"}
        async with router.session.request(method, router.url + path, data=data, headers=headers) as answer:
            await answer.read()
            assert answer.status in (200, 400, 403), path
            if answer.status != 403:
                found.add(path)

    assert found == may


async def test_the_refusal_names_the_endpoints_that_are_allowed(router: Running) -> None:
    plain, _ = await router.server.keys.create("narrow", allowed_endpoints=["/embeddings", "/models"])

    error = await openai_error(await router.post(CHAT, ASK, key=plain), "permission_denied")

    assert error["code"] == "forbidden"
    assert "may ask /embeddings, /models" in error["message"]
    assert "not /chat/completions" in error["message"]
    about = (await (await router.get("/v1/key", key=plain)).json())["data"]
    assert about["allowed_endpoints"] == ["/embeddings", "/models"]


async def test_an_endpoint_is_a_path(router: Running) -> None:
    with pytest.raises(BadRequest, match="paths such as"):
        await router.server.keys.create("narrow", allowed_endpoints=["chat"])


# --- metrics: loopback, or a management key --------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Forwarded-For", "forwarded", "Via"])
async def test_metrics_are_not_for_those_behind_a_proxy(router: Running, header: str) -> None:
    """A proxy on the same machine comes from loopback too."""
    behind = {header: "203.0.113.9"}

    assert await status(router, path="/metrics") == 200
    assert await status(router, behind, path="/metrics") == 401
    assert await status(router, behind | {"x-api-key": router.key}, path="/metrics") == 403
    assert await status(router, behind | {"x-api-key": router.management}, path="/metrics") == 200


async def test_metrics_are_not_for_other_machines(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            own = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but loopback")
    server = Server(
        Settings(providers=ECHO, server=ServerSettings(database=str(tmp_path / "router.db"), listen=f"{own}:0")), {}
    )
    await server.start()
    try:
        _, plain = (await server.keys.create_first()) or ("", "")
        async with listening(server) as url, ClientSession() as session:
            for key, expected in (("", 401), (plain, 403)):
                async with session.get(url + "/metrics", headers={"x-api-key": key}) as answer:
                    assert answer.status == expected
            async with session.get(url + "/healthz") as answer:
                assert answer.status == 200
    finally:
        await server.stop()


# --- the order of the checks -----------------------------------------------------------------------------------------


async def test_nothing_is_read_before_the_key_is_known(router: Running) -> None:
    """A wrong key, a wrong type of content and a body that never comes: it is the key that is told, and at once."""
    headers = {"x-api-key": "nobody", "Content-Type": "text/plain", "Content-Length": str(10**12)}

    async with router.session.post(
        router.url + CHAT, data=b"x", headers=headers, skip_auto_headers=["Content-Length"]
    ) as answer:
        await openai_error(answer, "authentication")


async def test_unknown_models_are_not_told_to_strangers(router: Running) -> None:
    assert await status(router, path="/v1/models/nobody/nothing") == 401


# --- open mode, public models ----------------------------------------------------------------------------------------


async def test_open_mode_takes_any_key_or_none(start: Start) -> None:
    router = await start(providers=ECHO, auth=AuthSettings(mode="open"))

    for headers in ({}, {"x-api-key": "any"}, {"Authorization": "Bearer sk-anything"}, {"x-api-key": router.key}):
        assert await status(router, headers) == 200
        assert await status(router, headers, path=MODELS) == 200
    mine = await (await router.get("/v1/key")).json()
    assert mine["data"]["name"] == "inference"


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "example.com:80"])
def test_open_mode_is_for_loopback_only(listen: str) -> None:
    environ = {"ROUTER__AUTH__MODE": "open", "ROUTER__SERVER__LISTEN": listen}

    with pytest.raises(SettingsError, match="loopback"):
        load(None, environ)


async def test_models_can_be_public(start: Start) -> None:
    router = await start(providers=ECHO, auth=AuthSettings(public_models=True))

    assert await status(router, path=MODELS) == 200
    assert await status(router, path="/v1/models/echo/echo") == 200
    assert await status(router, path="/v1/key") == 401
    assert await status(router) == 401
