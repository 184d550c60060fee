"""Requests that ask for JSON and for healing, over sockets and by the SDKs that people use."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest
import router_response_healing

from router import Call, hookimpl
from router.testing import FakeUpstream, Running, json_answer, sse_answer

Start = Callable[..., Awaitable[Running]]
HEALING = {"plugins": [{"id": "response-healing"}]}
BROKEN = 'Here you are:\n```json\n{"name": "Ann", "age": 30,}\n```'
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Watching:
    """Keeps the calls, to see what plugins noted in them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        self.calls.append(call)

    @property
    def said(self) -> list[str]:
        return [each["summary"] for each in self.calls[-1].pipeline]


def says(*texts: str, reason: str = "stop") -> dict[str, Any]:
    choices = [
        {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        for number, text in enumerate(texts)
    ]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}


async def started(start: Start, upstream: FakeUpstream) -> tuple[Running, Watching]:
    watching = Watching()
    router = await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}},
        plugins={"response-healing": router_response_healing, "watching": watching},
    )
    return router, watching


def ask(**members: Any) -> dict[str, Any]:
    return {"model": "fake/m", "messages": [{"role": "user", "content": "who?"}], **members}


async def test_an_openai_client_gets_json(start: Start, upstream: FakeUpstream) -> None:
    router, watching = await started(start, upstream)
    upstream.will(json_answer(says(BROKEN, '{"name": "Bo", "age": 3', '{"name":"Cy"}')))

    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="fake/m",
            messages=[{"role": "user", "content": "who?"}],
            n=3,
            response_format={"type": "json_object"},
            extra_body=HEALING,
        )

    assert [json.loads(each.message.content or "") for each in answer.choices] == [
        {"name": "Ann", "age": 30},
        {"name": "Bo", "age": 3},
        {"name": "Cy"},
    ]
    assert watching.said == ["choice 0: healed", "choice 1: healed"]
    assert "plugins" not in upstream.asked[0].body


async def test_an_anthropic_client_gets_json_that_fits_its_schema(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)
    upstream.will(json_answer(says('{"name": "Ann", "age": "30",}')))

    async with anthropic.AsyncAnthropic(base_url=router.url, api_key=router.key, max_retries=0) as client:
        answer = await client.messages.create(
            model="fake/m",
            max_tokens=100,
            messages=[{"role": "user", "content": "who?"}],
            extra_body={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}, **HEALING},
        )

    assert answer.content[0].type == "text"
    assert json.loads(answer.content[0].text) == {"name": "Ann", "age": 30}


async def test_a_client_of_responses_gets_json(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)
    upstream.will(json_answer(says(BROKEN)))

    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        answer = await client.responses.create(
            model="fake/m", input="who?", text={"format": {"type": "json_object"}}, extra_body=HEALING
        )

    assert json.loads(answer.output_text) == {"name": "Ann", "age": 30}


async def test_what_cannot_be_made_to_fit_stays_and_is_told(start: Start, upstream: FakeUpstream) -> None:
    router, watching = await started(start, upstream)
    upstream.will(json_answer(says('{"name": "Ann"')))
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}

    answer = await router.post("/v1/chat/completions", ask(response_format=wanted, **HEALING))

    assert (await answer.json())["choices"][0]["message"]["content"] == '{"name": "Ann"'
    assert watching.said == ["choice 0: left as it was: no JSON that fits the schema could be made of it"]


@pytest.mark.parametrize(
    "members",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_object"}, "plugins": [{"id": "response-healing", "enabled": False}]},
        {"response_format": {"type": "text"}, **HEALING},
        HEALING,
    ],
    ids=["not asked for", "switched off", "text wanted", "no format"],
)
async def test_nothing_is_healed_that_nobody_wants_healed(
    start: Start, upstream: FakeUpstream, members: dict[str, Any]
) -> None:
    router, watching = await started(start, upstream)
    upstream.will(json_answer(says(BROKEN)))

    answer = await router.post("/v1/chat/completions", ask(**members))

    assert (await answer.json())["choices"][0]["message"]["content"] == BROKEN
    assert watching.said == []


async def test_a_stream_is_left_alone(start: Start, upstream: FakeUpstream) -> None:
    router, watching = await started(start, upstream)
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices = ({"index": 0, "delta": {"content": BROKEN}}, {"index": 0, "delta": {}, "finish_reason": "stop"})
    frames = [b"data: %b\n\n" % json.dumps(head | {"choices": [each]}).encode() for each in choices]
    upstream.will(sse_answer([*frames, b"data: [DONE]\n\n"]))

    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="fake/m",
            messages=[{"role": "user", "content": "who?"}],
            stream=True,
            response_format={"type": "json_object"},
            extra_body=HEALING,
        )
        texts = [choice.delta.content or "" async for each in stream for choice in each.choices]

    assert "".join(texts) == BROKEN
    assert watching.said == ["streams are not healed"]


async def test_talk_beside_a_call_of_a_tool_is_no_json_to_heal(start: Start, upstream: FakeUpstream) -> None:
    router, watching = await started(start, upstream)
    called = {"id": "t", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    reply = says("Let me look [it] up {")
    reply["choices"][0] |= {"finish_reason": "tool_calls"}
    reply["choices"][0]["message"]["tool_calls"] = [called]
    upstream.will(json_answer(reply))

    answer = await router.post("/v1/chat/completions", ask(response_format={"type": "json_object"}, **HEALING))

    assert (await answer.json())["choices"][0]["message"]["content"] == "Let me look [it] up {"
    assert watching.said == []


async def test_an_answer_that_is_too_long_or_takes_too_long_is_left_alone(start: Start, upstream: FakeUpstream) -> None:
    router, watching = await started(start, upstream)
    endless = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    upstream.will(json_answer(says('{"a": "' + "a" * 40 + '!",}')), json_answer(says("{" * 2_000_000)))
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": endless}}
    router.server.plugin_settings["response-healing"] = router_response_healing.Settings(seconds=2)

    for why in ("it took longer than 2 s", "longer than 1024 kB"):
        answer = await router.post("/v1/chat/completions", ask(response_format=wanted, **HEALING))
        assert answer.status == 200
        assert watching.said == [f"choice 0: left as it was: {why}"]
