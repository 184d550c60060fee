"""`availability`: what clients of every surface are told of models that cannot be had (api.md 4.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from router.model import Model
from router.settings import EndpointSettings, ModelSettings, PriceSettings
from router.testing import FakeUpstream, Running, json_answer

Start = Callable[..., Awaitable[Running]]
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    table = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "upstream-key-of-nobody"}
    price = PriceSettings(prompt="0.000001", completion="0.000001")
    endpoint = EndpointSettings(provider="fake", model="m", pricing=price)
    facts = {"context_length": 8000}
    return await start(
        providers={
            "fake": table,
            "listing": {**table, "unknown_models": False},
            "openai": {"plugin": "openai", "base_url": upstream.url, "api_key": "k"},
            "keyless": {"plugin": "openai", "base_url": upstream.url},
        },
        models={
            "acme/chat-1": ModelSettings(endpoints=[endpoint], **facts),
            "acme/chat-2": ModelSettings(endpoints=[endpoint], **facts),
        },
    )


def failing(status: int, **headers: str) -> Any:
    return json_answer(
        {"error": {"message": "no", "code": "model_not_found" if status == 404 else "no"}},
        status=status,
        headers=headers,
    )


def posted(surface: str, model: str, **members: Any) -> tuple[str, dict[str, Any]]:
    """A request of each surface for a model."""
    match surface:
        case "anthropic":
            return "/v1/messages", {"model": model, "messages": MESSAGES, "max_tokens": 10, **members}
        case "gemini":
            contents = {"contents": [{"parts": [{"text": "hello"}]}]}
            return f"/v1beta/models/{model}:generateContent", contents | ({"routerConfig": members} if members else {})
        case "responses":
            return "/v1/responses", {"model": model, "input": "hello", **members}
    return "/v1/chat/completions", {"model": model, "messages": MESSAGES, **members}


CASES: dict[str, tuple[str, dict[str, Any], Any, str, int]] = {
    "a name that nobody knows": ("acme/chat-3", {}, None, "model_not_found", 404),
    "no model to chat with": ("openai/text-embedding-3-small", {}, None, "wrong_endpoint", 400),
    "nobody has it any more": ("listing/gone", {}, None, "model_deprecated", 404),
    "the upstream does not know it": ("acme/chat-1", {}, failing(404), "model_unavailable_upstream", 404),
    "full": ("acme/chat-1", {}, failing(429, **{"retry-after": "30"}), "capacity_exhausted", 429),
    "down": ("acme/chat-1", {}, failing(503, **{"retry-after": "30"}), "temporarily_unavailable", 503),
    "broken": ("acme/chat-1", {}, failing(500, **{"retry-after": "30"}), "temporarily_unavailable", 502),
    "no credential": ("keyless/gpt-4.1", {}, None, "temporarily_unavailable", 503),
    "privacy": ("acme/chat-1", {"provider": {"zdr": True}}, None, "privacy_restricted", 404),
    "a preference": ("acme/chat-1", {"provider": {"only": ["x"]}}, None, "constraint_filtered", 404),
    "nothing free": ("acme/chat-1:free", {}, None, "free_variant_ended", 404),
}


@pytest.mark.parametrize("surface", ["chat", "anthropic", "gemini", "responses"])
@pytest.mark.parametrize(("model", "members", "answer", "code", "status"), CASES.values(), ids=CASES)
async def test_every_code_on_every_surface(
    router: Running,
    upstream: FakeUpstream,
    surface: str,
    model: str,
    members: dict[str, Any],
    answer: Any,
    code: str,
    status: int,
) -> None:
    if answer is not None:
        upstream.will(answer)
    listing = router.server.providers["listing"]
    router.server.table.discovered(listing, [Model(id="gone"), Model(id="stays")])
    router.server.table.discovered(listing, [Model(id="stays")])
    path, body = posted(surface, model, **members)

    got = await router.post(path, body)

    assert got.status == (529 if surface == "anthropic" and status == 503 else status)
    told = (await got.json())["error"]["availability"]
    assert told["code"] == code
    assert told["requested_models"] == [model]
    passing = code in ("capacity_exhausted", "temporarily_unavailable") and "keyless" not in model
    assert told["retryable"] is passing
    assert not passing or (told["retry_after"], told["affected_providers"]) == (30, ["fake"])


async def test_models_with_like_names_are_named_but_never_the_one_that_failed(
    router: Running, upstream: FakeUpstream
) -> None:
    upstream.will(failing(429, **{"retry-after": "30"}))

    for model, members in (("acme/chat-1", {}), ("acme/chat-1", {"provider": {"zdr": True}}), ("acme/chat-3", {})):
        _, body = posted("chat", model, **members)
        error = (await (await router.post("/v1/chat/completions", body)).json())["error"]
        fallbacks = error["availability"]["fallback_models"]
        assert "acme/chat-2" in fallbacks
        assert model not in fallbacks


async def test_what_a_key_may_not_use_is_told_as_its_fault(router: Running) -> None:
    key, _ = await router.server.keys.create("narrow", allowed_models=["acme/chat-2"])
    _, body = posted("chat", "acme/chat-1")

    answer = await router.post("/v1/chat/completions", body, key=key)

    error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (403, "model_not_allowed")
    assert error["availability"]["excluded_by"] == ["key"]


@pytest.mark.parametrize("headers", [{"X-Router-Error-Code": "number"}, {"User-Agent": "@openrouter/sdk 1.0"}])
async def test_an_unknown_model_is_400_for_clients_with_number_codes(router: Running, headers: dict[str, str]) -> None:
    for surface in ("chat", "responses"):
        answer = await router.post(*posted(surface, "acme/chat-3"), headers=headers)

        told = await answer.json()
        assert (answer.status, told["error"]["code"], told["code"]) == (400, 400, "model_not_found")
        assert told["error"]["availability"]["code"] == "model_not_found"


async def test_a_refused_credential_is_nothing_to_wait_for(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(failing(401))
    _, body = posted("chat", "acme/chat-1")

    for _ in range(2):  # asked, and known from then on
        answer = await router.post("/v1/chat/completions", body)
        told = (await answer.json())["error"]["availability"]
        assert (answer.status, told["code"], told["retryable"]) == (502, "temporarily_unavailable", False)
        assert told["affected_providers"] == ["fake"]
