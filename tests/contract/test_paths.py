"""Paths: prefixes, slashes, ids with slashes in them, and what is answered where there is nothing, in the shape of each surface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from yarl import URL

from router.settings import EndpointSettings, ModelSettings
from router.testing import FakeUpstream, Running, json_answer

from .conftest import Standing
from .envelopes import anthropic_error, google_error, openai_error

Start = Callable[..., Awaitable[Running]]
ASK: dict[str, Any] = {"model": "echo/echo", "messages": [{"role": "user", "content": "hello"}]}


async def ask(router: Running | Standing, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
    """An answer whose path was sent exactly as it stands here."""
    headers = {"Authorization": f"Bearer {key or router.key}"}
    url = URL(router.url + path, encoded=True)
    async with router.session.request(method, url, json=body, headers=headers) as answer:
        await answer.read()
        return answer


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
async def test_both_prefixes_with_and_without_a_slash(standing: Standing, prefix: str, slash: str) -> None:
    id = (await ask(standing, "POST", f"{prefix}/chat/completions{slash}", ASK)).headers["X-Generation-Id"]

    for path in ("/models", "/models/count", "/models/echo/echo", "/providers", "/key", f"/generation/{id}", "/health"):
        assert (await ask(standing, "GET", prefix + path + slash)).status == 200
    assert (await ask(standing, "GET", f"{prefix}/generation{slash}?id={id}")).status == 200
    assert (await ask(standing, "GET", f"/healthz{slash}")).status == 200


# --- ids with slashes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["echo/echo", "echo%2Fecho", "echo%2fecho", "echo%2Fecho/", "%65cho/echo", "echo/echo:free"]
)
async def test_ids_of_models_in_paths(standing: Standing, path: str) -> None:
    answer = await ask(standing, "GET", f"/v1/models/{path}")

    assert answer.status == 200
    assert (await answer.json())["id"] == "echo/echo"


ODD_IDS = ["acme/deep/er/model", "acme/llama3:8b", "acme/with space", "acme/å🌍", "acme/a+b", "acme/a%b", "acme/a?b#c"]


@pytest.mark.parametrize("id", ODD_IDS)
async def test_odd_ids_are_found_by_their_quoted_form(start: Start, upstream: FakeUpstream, id: str) -> None:
    upstream.will(json_answer({}))
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    endpoint = EndpointSettings(provider="acme", model="m")
    router = await start(providers={"acme": table}, models={id: ModelSettings(endpoints=[endpoint])})

    answer = await ask(router, "GET", "/v1/models/" + quoted(id))

    assert answer.status == 200
    assert (await answer.json())["id"] == id


def quoted(id: str) -> str:
    """As `encodeURIComponent` writes it."""
    return "".join(
        each if each.isascii() and each.isalnum() else "".join(f"%{byte:02X}" for byte in each.encode()) for each in id
    )


@pytest.mark.parametrize(
    "path", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e/healthz", "a%00b", "%ff%fe", "a" * 3000, "%", "%zz"]
)
async def test_hostile_ids_are_models_that_are_not_there(standing: Standing, path: str) -> None:
    answer = await ask(standing, "GET", f"/v1/models/{path}")

    error = await openai_error(answer, "not_found")
    assert len(error["message"]) < 700
    assert "passwd" not in error["message"] or "no model" in error["message"]


@pytest.mark.parametrize("id", ["gen-%00", "%2e%2e", "x" * 3000, "gen-'%20OR%201=1--", "gen-%F0%9F%8C%8D", "%ff"])
async def test_hostile_ids_of_generations(standing: Standing, id: str) -> None:
    for path in (f"/v1/generation/{id}", f"/v1/generation?id={id}"):
        await openai_error(await ask(standing, "GET", path), "not_found")


# --- nothing there ---------------------------------------------------------------------------------------------------

NOTHING = {
    "openai": [
        "/",
        "/v1",
        "/v1/",
        "/v1/chat",
        "/v1/chat/completions/more",
        "/v2/chat/completions",
        "/V1/models",
        "/v1//models",
        "//v1/models",
        "/nowhere",
        "/favicon.ico",
        "/v1/%2e%2e/healthz",
        "/v1/modelsx",
        "/healthz/more",
    ],
    "anthropic": [
        "/anthropic/v1/nowhere",
        "/anthropic/v2/messages",
        "/v1/messages/nowhere/at/all",
        "/api/v2/messages",
    ],
    "gemini": [
        "/v1beta/nowhere",
        "/v1beta/",
        "/api/v1beta/nowhere",
        "/v2/models/x:generateContent",
        "/nowhere/x:streamGenerateContent",
    ],
}
SHAPES = {"openai": openai_error, "anthropic": anthropic_error, "gemini": google_error}


@pytest.mark.parametrize(("surface", "path"), [(surface, path) for surface, paths in NOTHING.items() for path in paths])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_paths_are_404_in_the_shape_of_their_surface(
    standing: Standing, surface: str, path: str, method: str
) -> None:
    answer = await ask(standing, method, path, ASK if method == "POST" else None)

    await SHAPES[surface](answer, "not_found")
    assert answer.headers["X-Request-Id"]


METHODS = [
    ("openai", "GET", "/v1/chat/completions", {"POST"}),
    ("openai", "DELETE", "/api/v1/chat/completions", {"POST"}),
    ("openai", "POST", "/v1/models", {"GET", "HEAD"}),
    ("openai", "PUT", "/v1/key", {"GET", "HEAD"}),
    ("openai", "POST", "/healthz", {"GET", "HEAD"}),
    ("openai", "PROPFIND", "/v1/models", {"GET", "HEAD"}),
    ("anthropic", "GET", "/v1/messages", {"POST"}),
    ("anthropic", "DELETE", "/anthropic/v1/messages", {"POST"}),
    ("gemini", "PUT", "/v1beta/models/echo/echo:generateContent", {"POST"}),
]


@pytest.mark.parametrize(("surface", "method", "path", "allowed"), METHODS)
async def test_wrong_methods_are_told_the_right_ones(
    standing: Standing, surface: str, method: str, path: str, allowed: set[str]
) -> None:
    answer = await ask(standing, method, path)

    await SHAPES[surface](answer, "method_not_allowed")
    assert allowed <= set(answer.headers["Allow"].split(", "))


async def test_errors_of_all_surfaces_carry_the_same_headers(standing: Standing) -> None:
    for path in ("/v1beta/nowhere", "/anthropic/v1/nowhere", "/nowhere"):
        headers = (await ask(standing, "GET", path)).headers
        assert headers["X-Request-Id"].startswith("req_")
        assert headers["X-RateLimit-Limit"].isdigit()
        assert headers["Server"] == "onebox-router"
