"""Where the services differ: `[compat]` of the configuration, and a key's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from router.settings import CompatSettings
from router.testing import FakeUpstream, Running, completion, json_answer

Start = Callable[..., Awaitable[Running]]
ASK = {"model": "fake/m", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = completion(tokens=(1, 1), reasoning_content="hm")


async def started(start: Start, upstream: FakeUpstream, **compat: Any) -> Running:
    upstream.will(json_answer(ANSWER))
    providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}
    return await start(providers=providers, compat=CompatSettings(**compat))


async def test_strict_params_refuses_what_nobody_knows(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream, strict_params=True)
    answer = await router.post("/v1/chat/completions", {**ASK, "favourite_colour": "green"})
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == "favourite_colour"
    assert (await router.post("/v1/chat/completions", ASK)).status == 200


async def test_always_stream_answers_with_a_stream(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream, always_stream=True)
    answer = await router.post("/v1/chat/completions", ASK)
    assert answer.content_type == "text/event-stream"
    assert (await answer.text()).endswith("data: [DONE]\n\n")


async def test_reasoning_content_can_be_left_out(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream, reasoning_content=False)
    message = (await (await router.post("/v1/chat/completions", ASK)).json())["choices"][0]["message"]
    assert message["reasoning"] == "hm"
    assert "reasoning_content" not in message


async def test_error_codes_as_numbers(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream, error_code="number")
    answer = await router.post("/v1/chat/completions", {**ASK, "n": 99})
    assert (await answer.json())["error"]["code"] == 400


async def test_a_key_overrides_the_configuration(start: Start, upstream: FakeUpstream) -> None:
    router = await started(start, upstream, strict_params=True)
    key, _ = await router.server.keys.create("lenient", compat={"strict_params": False})
    answer = await router.post("/v1/chat/completions", {**ASK, "favourite_colour": "green"}, key=key)
    assert answer.status == 200
