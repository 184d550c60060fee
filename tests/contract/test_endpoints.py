"""Who serves a model and how that is going: endpoints with what was measured of them, and what a key may ask (api.md 10)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import pytest

from router.settings import AuthSettings, EndpointSettings, ModelSettings, PriceSettings
from router.testing import FakeUpstream, Running, json_answer, sse_answer
from tests.wire.recordings import SHARED

from .envelopes import openai_error
from .test_headers import ASK, STREAM, WHOLE

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
MEMBERS = """name model_id model_name provider_name tag context_length max_completion_tokens max_prompt_tokens quantization status
    pricing supported_parameters supports_implicit_caching uptime_last_5m uptime_last_30m uptime_last_1d latency_last_30m
    throughput_last_30m native_tools service_tier supports_diarization supports_tool_choice"""
SPEC = SHARED / "specs" / "openrouter.openapi.json"
FAILURE = {"error": {"message": "no"}}


def served_by(*slugs: str, **facts: Any) -> ModelSettings:
    return ModelSettings(endpoints=[EndpointSettings(provider=slug, model=f"m-{slug}") for slug in slugs], **facts)


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    upstream.will(json_answer(WHOLE))
    local = {"plugin": "openai-compatible", "base_url": f"{upstream.url}/v1", "api_key": "key-of-nobody"}
    price = PriceSettings(prompt="0.000001", completion="0.000002", input_cache_read="0.0000001")
    return await start(
        providers={
            "fake": local,
            "safe": local | {"zdr": True, "quantization": "fp8"},
            "twice": {**local, "api_key": "", "api_keys": ["first", "second"]},
            "keyless": {"plugin": "anthropic"},
        },
        models={
            "acme/chat": served_by(
                "fake", "safe", name="Acme Chat", context_length=1000, max_output=100, pricing=price
            ),
            "acme/safe": served_by("safe", supported_parameters=["tools"]),
            "acme/both": served_by("keyless", "twice"),
            "acme/keyless": served_by("keyless"),
            "acme/twice": served_by("twice"),
        },
    )


async def data(router: Running, path: str, key: str | None = None) -> Any:
    answer = await router.get(path, key=key)
    assert answer.status == 200, await answer.text()
    return (await answer.json())["data"]


async def endpoints(router: Running, id: str = "acme/chat") -> dict[str, Any]:
    """The endpoints of a model by provider."""
    listed = (await data(router, f"/api/v1/models/{id}/endpoints"))["endpoints"]
    return {each["provider_name"]: each for each in listed}


async def ask(router: Running, id: str, **members: Any) -> int:
    return (await router.post(CHAT, ASK | {"model": id} | members)).status


# --- facts -----------------------------------------------------------------------------------------------------------


async def test_the_endpoints_of_a_model(router: Running) -> None:
    model = await data(router, "/v1/models/acme%2Fchat/endpoints")

    assert model.keys() == {"id", "name", "created", "description", "architecture", "endpoints"}
    assert (model["id"], model["name"]) == ("acme/chat", "Acme Chat")
    assert model["architecture"]["output_modalities"] == ["text"]
    fake, safe = model["endpoints"]
    assert fake.keys() == safe.keys() == set(MEMBERS.split())
    assert (fake["provider_name"], fake["tag"], fake["name"]) == ("fake", "fake", "fake: Acme Chat")
    assert (fake["model_id"], fake["model_name"]) == ("acme/chat", "Acme Chat")
    assert (fake["context_length"], fake["max_prompt_tokens"], fake["max_completion_tokens"]) == (1000, 1000, 100)
    assert (fake["quantization"], safe["quantization"]) == ("unknown", "fp8")
    assert (fake["pricing"]["prompt"], fake["pricing"]["completion"]) == ("0.000001", "0.000002")
    assert fake["supports_implicit_caching"] is True
    assert (await endpoints(router, "acme/safe"))["safe"]["supports_tool_choice"] == {
        "auto": True,
        "none": False,
        "required": False,
        "function": False,
    }


async def test_endpoints_of_all_models(router: Running) -> None:
    every = await data(router, "/v1/endpoints")
    private = await data(router, "/api/v1/endpoints/zdr")

    own = [(each["model_id"], each["tag"]) for each in every if each["model_id"].startswith("acme/")]
    assert own == [
        ("acme/both", "keyless"),
        ("acme/both", "twice"),
        ("acme/chat", "fake"),
        ("acme/chat", "safe"),
        ("acme/keyless", "keyless"),
        ("acme/safe", "safe"),
        ("acme/twice", "twice"),
    ]
    assert [(each["model_id"], each["tag"]) for each in private] == [("acme/chat", "safe"), ("acme/safe", "safe")]


@pytest.mark.parametrize("path", ["/v1/models/nobody/nothing/endpoints", "/api/v1/model/nobody/nothing"])
async def test_a_model_that_is_not_there(router: Running, path: str) -> None:
    error = await openai_error(await router.get(path), "not_found")
    strict = await router.get(path, headers={"User-Agent": "speakeasy-sdk/python 1.3.84 2.7.0 1.0.0 openrouter"})

    assert error["code"] == "model_not_found"
    assert "nobody/nothing" in error["message"]
    assert (strict.status, (await strict.json())["error"]["code"]) == (404, 404)


@pytest.mark.parametrize("id", ["acme/chat", "acme%2Fchat", "chat", "fake/anything/at/all"])
async def test_one_model_in_an_envelope(router: Running, id: str) -> None:
    bare = await (await router.get(f"/v1/models/{id}")).json()

    assert await data(router, f"/api/v1/model/{id}") == bare


# --- what was measured -----------------------------------------------------------------------------------------------


async def test_nothing_is_known_of_who_was_not_asked(router: Running) -> None:
    fake = (await endpoints(router))["fake"]

    assert fake["status"] == 0
    assert [fake[name] for name in fake if "last_" in name] == [None] * 5


async def test_latencies_are_milliseconds_and_uptimes_percent(router: Running, upstream: FakeUpstream) -> None:
    """Of a stream that takes its time."""
    upstream.will(sse_answer(STREAM, pause_s=0.05))
    for _ in range(3):
        assert await ask(router, "acme/safe", stream=True) == 200
    upstream.will(json_answer(FAILURE, status=400))
    assert await ask(router, "acme/safe") == 400

    safe = (await endpoints(router, "acme/safe"))["safe"]
    assert [safe[f"uptime_last_{window}"] for window in ("5m", "30m", "1d")] == [100, 100, 100]
    assert safe["latency_last_30m"].keys() == safe["throughput_last_30m"].keys() == {"p50", "p75", "p90", "p99"}
    assert 0.1 < safe["latency_last_30m"]["p50"] <= safe["latency_last_30m"]["p99"] < 20_000
    # Five tokens in the three pauses behind the first frame, or in more on a busy machine.
    assert 5 / 10 < safe["throughput_last_30m"]["p99"] <= safe["throughput_last_30m"]["p50"] < 5 / 0.1
    fastest = await data(router, "/v1/models?sort=throughput-high-to-low&provider=acme&limit=2")
    assert [each["id"] for each in fastest] == ["acme/chat", "acme/safe"]


async def test_calls_with_tools_are_counted_by_how_they_end(router: Running, upstream: FakeUpstream) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [call]}}
    upstream.will(*[json_answer(WHOLE)] * 4, json_answer(WHOLE | {"choices": [choice]}))
    tools = [{"type": "function", "function": {"name": "now"}}]

    for _ in range(10):
        assert await ask(router, "acme/safe", tools=tools) == 200
    assert await ask(router, "acme/safe") == 200

    (endpoint,) = router.server.table.entries["acme/safe"].endpoints
    assert router.server.health.statistics.tool_success(endpoint) == 6 / 10


# --- status ----------------------------------------------------------------------------------------------------------


async def statuses(router: Running, id: str) -> dict[str, int]:
    return {slug: each["status"] for slug, each in (await endpoints(router, id)).items()}


async def test_who_has_no_credential_is_told_from_who_has(router: Running) -> None:
    assert await statuses(router, "acme/both") == {"keyless": -5, "twice": 0}


async def test_who_fails_is_degraded(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(FAILURE, status=500))
    await ask(router, "acme/safe")

    assert await statuses(router, "acme/safe") == {"safe": -1}
    assert (await endpoints(router, "acme/safe"))["safe"]["uptime_last_5m"] == 0


async def test_who_is_busy_cools_down_without_being_at_fault(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(FAILURE, status=429, headers={"Retry-After": "60"}))
    await ask(router, "acme/safe")

    safe = (await endpoints(router, "acme/safe"))["safe"]
    assert (safe["status"], safe["uptime_last_5m"]) == (-2, None)


async def test_whose_credential_was_refused_is_disabled(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(FAILURE, status=401))
    await ask(router, "acme/safe")

    assert await statuses(router, "acme/safe") == {"safe": -3}


async def test_whom_a_second_credential_is_left_is_degraded(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(FAILURE, status=401), json_answer(WHOLE))
    assert await ask(router, "acme/twice") == 200

    assert await statuses(router, "acme/twice") == {"twice": -1}


async def test_what_the_upstream_lists_no_longer_is_removed(router: Running) -> None:
    """As long as it does not come back."""
    provider, table = router.server.providers["safe"], router.server.table
    models = [provider.unknown("m-safe")]

    found = []
    for listed in (models, [], models):
        table.discovered(provider, listed)
        found.append(await statuses(router, "acme/safe"))

    assert found == [{"safe": 0}, {"safe": -10}, {"safe": 0}]


# --- what a key may ask ----------------------------------------------------------------------------------------------


async def of_user(router: Running, query: str = "", **restrictions: Any) -> list[str]:
    """Which of acme's models a key with these restrictions is shown."""
    key = (await router.server.keys.create(f"key {query} {restrictions}", **restrictions))[0]
    listed = await data(router, f"/api/v1/models/user?provider=acme{query}", key)
    return [each["id"].removeprefix("acme/") for each in listed]


async def test_a_key_is_shown_what_it_may_ask(router: Running) -> None:
    """Of who has no credential nobody can get anything."""
    assert await of_user(router) == ["both", "chat", "safe", "twice"]
    assert await of_user(router, allowed_providers=["safe"]) == ["chat", "safe"]
    assert await of_user(router, allowed_providers=["keyless"]) == []
    assert await of_user(router, allowed_models=["acme/t*", "acme/chat"]) == ["chat", "twice"]
    assert await of_user(router, allowed_models=["acme/*e"], allowed_providers=["safe"]) == ["safe"]
    assert await of_user(router, "&limit=1&offset=1", allowed_providers=["twice", "safe"]) == ["chat"]
    assert await of_user(router, "&sort=newest&q=both") == ["both"]


async def test_what_is_down_is_not_shown(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(FAILURE, status=401))
    await ask(router, "acme/safe")

    assert await of_user(router) == ["both", "chat", "twice"]


async def test_this_list_needs_a_key_even_where_the_other_needs_none(start: Start) -> None:
    router = await start(providers={"echo": {"plugin": "echo"}}, auth=AuthSettings(public_models=True))

    async def status(path: str, key: str = "") -> int:
        headers = {"x-api-key": key} if key else {}
        async with router.session.get(router.url + path, headers=headers) as answer:
            return answer.status

    assert await status("/v1/models") == 200
    assert await status("/v1/endpoints") == 200
    assert [await status("/v1/models/user", key) for key in ("", "nobody", router.key)] == [401, 401, 200]


async def test_a_provider_is_credited_with_each_model_once(router: Running) -> None:
    rows = {row["slug"]: row["models"] for row in await data(router, "/v1/providers")}

    assert (rows["fake"], rows["safe"], rows["twice"]) == (1, 2, 2)
    assert rows["keyless"] > 2


# --- the description of OpenRouter's API -----------------------------------------------------------------------------

#: closed lists in there of what is open here: providers and tokenizers have the names that a configuration gives them
OPEN = ("provider_name", "tokenizer", "supported_parameters")


@pytest.mark.skipif(
    not SPEC.exists(), reason=f"no description at {SPEC}: set ONEBOX_SHARED to the folder that holds specs/"
)
@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/models?output_modalities=all", "/models"),
        ("/models/count", "/models/count"),
        ("/models/user", "/models/user"),
        ("/embeddings/models", "/embeddings/models"),
        ("/model/acme/chat", "/model/{author}/{slug}"),
        ("/models/acme/safe/endpoints", "/models/{author}/{slug}/endpoints"),
        ("/endpoints/zdr", "/endpoints/zdr"),
        ("/providers", "/providers"),
    ],
)
async def test_answers_are_as_openrouter_describes_them(
    router: Running, upstream: FakeUpstream, path: str, described: str
) -> None:
    upstream.will(sse_answer(STREAM, pause_s=0.01))
    await ask(router, "acme/safe", stream=True)
    document = json.loads(SPEC.read_text(encoding="utf-8"))
    answered = document["paths"][described]["get"]["responses"]["200"]
    schema = document | answered["content"]["application/json"]["schema"]

    body = await (await router.get(f"/api/v1{path}")).json()

    breaches = [
        f"{error.json_path}: {error.message[:200]}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(body)
        if not any(name in OPEN for name in error.absolute_path)
    ]
    assert breaches == []
