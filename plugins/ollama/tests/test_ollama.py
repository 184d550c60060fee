"""What only Ollama does: options, lines of JSON, models that are found by asking."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from router_ollama import CLOUD, Ollama, OllamaSettings

from router.errors import BadRequest, StreamTruncated, UpstreamUnavailable
from router.events import Event, Reply, Start, TextDelta
from router.model import (
    Audio,
    ChatRequest,
    File,
    Image,
    Message,
    Reasoning,
    ReasoningConfig,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from router.prices import Price
from router.provider import Outgoing, Timeouts
from router.settings import FetchSettings, Settings
from router.sse import open_lines
from router.testing import FakeUpstream, json_answer, running

RECORDINGS = Path(__file__).parent / "recordings"
STREAMS = ("text_stream", "tools_stream")
SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
WEATHER, TIME = Tool(name="weather", description="The weather", parameters=SCHEMA), Tool(name="time")


def made(**settings: Any) -> Ollama:
    return Ollama("ollama", OllamaSettings(plugin="ollama", **settings), Timeouts())


def said(role: Any, *parts: Any) -> Message:
    return Message(role=role, content=[Text(text=part) if isinstance(part, str) else part for part in parts])


def sent(*turns: Message, ollama: Ollama | None = None, **members: Any) -> tuple[dict[str, Any], Outgoing]:
    members = {"model": "qwen3:8b", **members}
    request = ChatRequest(messages=list(turns) or [said("user", "Hello")], **members)
    outgoing = (ollama or made()).encode(request)
    return json.loads(outgoing.body), outgoing


def recorded(name: str) -> bytes:
    text: str = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]["text"]
    return text.encode()


async def events_of(pieces: list[bytes]) -> list[Event]:
    async def come() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [event async for event in made().events(open_lines(come()))]


# --- requests --------------------------------------------------------------------------------------------------------


def test_options() -> None:
    body, outgoing = sent(
        temperature=1.8,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        repetition_penalty=1.1,
        frequency_penalty=0.2,
        presence_penalty=0.3,
        seed=7,
        max_tokens=50,
        stop=["END"],
        extra={"options": Raw(b'{"mirostat":1,"seed":1}'), "keep_alive": Raw(b'"1h"')},
        ollama=made(num_ctx=8192, keep_alive="5m"),
    )

    assert outgoing.path == "/api/chat"
    assert body["options"] == {
        "num_ctx": 8192,
        "mirostat": 1,
        "temperature": 1.8,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "seed": 7,
        "num_predict": 50,
        "stop": ["END"],
    }
    assert (body["keep_alive"], body["stream"]) == ("1h", False)
    assert outgoing.dropped == []


def test_without_options_there_are_none() -> None:
    body, _ = sent(stream=True)

    assert body == {"model": "qwen3:8b", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


def test_what_it_does_not_know_is_named() -> None:
    body, outgoing = sent(
        top_a=0.1,
        logit_bias={"1": 2.0},
        logprobs=True,
        top_logprobs=2,
        user="u",
        tools=[WEATHER, Tool(name="web_search", server=Raw(b"{}"))],
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        response_format=ResponseFormat(type="grammar", grammar="x"),
        extra={"modalities": Raw(b'["text"]')},
    )

    assert body.keys() == {"model", "messages", "stream", "tools"}
    assert outgoing.dropped == [
        *("logit_bias", "logprobs", "modalities", "parallel_tool_calls", "response_format", "tool_choice"),
        *("tools", "top_a", "top_logprobs", "user"),
    ]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (ToolChoice(mode="auto"), ["weather", "time"]),
        (ToolChoice(mode="none"), []),
        (ToolChoice(mode="named", name="time"), ["time"]),
    ],
)
def test_tool_choice(choice: ToolChoice, names: list[str]) -> None:
    body, _ = sent(tools=[WEATHER, TIME], tool_choice=choice)

    assert [tool["function"]["name"] for tool in body.get("tools", [])] == names


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (ResponseFormat(type="json_schema", schema=SCHEMA), json.loads(bytes(SCHEMA))),
        (ResponseFormat(type="json_object"), "json"),
        (ResponseFormat(type="text"), None),
    ],
)
def test_the_form_of_the_answer(form: ResponseFormat, told: Any) -> None:
    body, _ = sent(response_format=form)

    assert body.get("format") == told


@pytest.mark.parametrize(
    ("model", "config", "told"),
    [
        ("qwen3:8b", ReasoningConfig(effort="high"), True),
        ("qwen3:8b", ReasoningConfig(max_tokens=100), True),
        ("qwen3:8b", ReasoningConfig(effort="none"), False),
        ("gpt-oss:20b", ReasoningConfig(effort="xhigh"), "high"),
        ("gpt-oss:20b", ReasoningConfig(enabled=True), "medium"),
        ("gpt-oss:20b", ReasoningConfig(enabled=False), "low"),
        ("qwen3:8b", None, None),
    ],
)
def test_thinking(model: str, config: ReasoningConfig | None, told: Any) -> None:
    body, _ = sent(model=model, reasoning=config)

    assert body.get("think") == told


def test_a_conversation_with_tools_and_images() -> None:
    turns = [
        said("developer", "Be brief."),
        said("user", "Weather?", Image(data="aGk=", media_type="image/png")),
        said("assistant", Reasoning(text="Hm."), ToolCall(id="c1", name="weather", arguments='{"a": "Ås"}')),
        said("tool", ToolResult(tool_call_id="c1", content=[Text(text="4 °C"), Image(data="bm8=")])),
        said("assistant", ToolCall(id="c2", name="weather", arguments='{"a'), ToolCall(id="c3", name="time")),
        said("tool", ToolResult(tool_call_id="c2", content=[Text(text="?")])),
        said("assistant", Reasoning(text="Not mine", signature="x", format="anthropic-claude-v1"), "Cold."),
    ]

    body, outgoing = sent(*turns)

    def call(name: str, arguments: Any) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": arguments}}

    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?", "images": ["aGk="]},
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [call("weather", {"a": "Ås"})]},
        {"role": "tool", "content": "4 °C", "tool_name": "weather"},
        {"role": "user", "content": "", "images": ["bm8="]},
        {"role": "assistant", "content": "", "tool_calls": [call("weather", {"_raw": '{"a'}), call("time", {})]},
        {"role": "tool", "content": "?", "tool_name": "weather"},
        {"role": "assistant", "content": "Cold."},
    ]
    assert outgoing.dropped == ["reasoning_details"]


def test_files_of_text_go_into_the_message() -> None:
    note = base64.b64encode("Ås".encode()).decode()

    body, _ = sent(said("user", "What?", File(data=note, media_type="text/markdown", filename="note.md")))

    assert body["messages"][0]["content"] == "What?\nnote.md:\nÅs\n"


@pytest.mark.parametrize(
    "part",
    [
        Audio(data="aGk=", format="mp3"),
        File(data="JVBERi0=", media_type="application/pdf", filename="a.pdf"),
        File(data="/w==", media_type="text/plain", filename="n.txt"),
    ],
)
def test_what_cannot_be_said_at_all(part: Any) -> None:
    with pytest.raises(BadRequest):
        sent(said("user", part))


# --- answers ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
@pytest.mark.parametrize("name", STREAMS)
async def test_any_split_gives_the_same_events(name: str, data: st.DataObject) -> None:
    content = recorded(name)
    places = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=30)))
    edges = [0, *places, len(content)]

    pieces = [content[start:end] for start, end in pairwise(edges)]

    assert await events_of(pieces) == await events_of([content])


async def test_a_cut_is_an_error_wherever_it_comes() -> None:
    content = recorded("tools_stream")
    last = content.rstrip().rfind(b"\n")
    for end in range(0, last, 7):
        with pytest.raises(StreamTruncated):
            await events_of([content[:end]])


async def test_a_stream_and_a_whole_answer_agree() -> None:
    line = json.loads(recorded("tools_stream").splitlines()[-1])
    parts = [json.loads(each)["message"] for each in recorded("tools_stream").splitlines()]
    message = {
        "role": "assistant",
        "content": "".join(part["content"] for part in parts),
        "thinking": "".join(part.get("thinking", "") for part in parts),
        "tool_calls": [call for part in parts for call in part.get("tool_calls", [])],
    }

    async def come() -> AsyncIterator[Event]:
        for event in await events_of([recorded("tools_stream")]):
            yield event

    assert made().decode(json.dumps(line | {"message": message}).encode()) == await Reply.from_events(come())


async def test_calls_without_ids_get_different_ones_that_stay() -> None:
    body = json.loads((RECORDINGS / "plain_tools.json").read_text(encoding="utf-8"))["response"]["body"]

    first, second = (made().decode(json.dumps(body).encode()) for _ in range(2))

    ids = [part.id for part in first.choices[0].content if isinstance(part, ToolCall)]
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") and len(id) == 29 for id in ids)
    assert first == second


async def test_an_error_behind_some_text() -> None:
    async def come() -> AsyncIterator[bytes]:
        yield recorded("error_inside")

    events = made().events(open_lines(come()))
    assert [await anext(events), await anext(events)] == [Start(model="qwen3:8b"), TextDelta(text="Half")]
    with pytest.raises(UpstreamUnavailable, match="unexpected EOF"):
        await anext(events)


@pytest.mark.parametrize(
    ("status", "said_by_it", "kind"),
    [
        (500, "the input length exceeds the context length", "context_length_exceeded"),
        (400, "registry.ollama.ai/library/llama3:latest does not support tools", "invalid_request"),
        (500, "unable to load image: unexpected EOF", "invalid_image"),
        (400, 'model "x" not found, try pulling it first', "not_found"),
        (500, "server busy, please try again. maximum pending requests exceeded", "provider_overloaded"),
        (499, "llama runner process has terminated", "provider_unavailable"),
        (401, "unauthorized", "provider_unavailable"),
        (429, "too many concurrent requests", "rate_limit_exceeded"),
    ],
)
def test_the_words_say_what_the_status_does_not(status: int, said_by_it: str, kind: str) -> None:
    assert made().error(status, {}, json.dumps({"error": said_by_it}).encode()).kind == kind


# --- models ----------------------------------------------------------------------------------------------------------

TAGS = {
    "models": [
        {"name": "qwen3:latest", "digest": "d1"},
        {"name": "words:1b", "digest": "d2"},
        {"name": "strange:1b", "digest": "d3"},
    ]
}
SHOWN = {
    "qwen3:latest": {
        "capabilities": ["completion", "tools", "thinking"],
        "model_info": {"qwen3.context_length": 40960},
    },
    "words:1b": {"capabilities": ["embedding"], "model_info": {"bert.context_length": 512}},
}


async def server(request: web.Request) -> web.StreamResponse:
    """Tells of the models above; of the last one it cannot say anything."""
    if request.path == "/api/tags":
        return web.json_response(TAGS)
    known = SHOWN.get((await request.json())["model"])
    return web.json_response(known or {"error": "no such file"}, status=200 if known else 500)


async def test_models_are_found_and_shown_once() -> None:
    async with FakeUpstream().listening() as upstream:
        upstream.will(server)
        ollama = made(base_url=upstream.url)
        try:
            found = {model.id: model for model in await ollama.models()}
            again = {model.id: model for model in await ollama.models()}
        finally:
            await ollama.close()

    assert found == again
    assert found.keys() == {"qwen3:latest", "words:1b", "strange:1b"}
    assert (found["qwen3:latest"].context_length, found["qwen3:latest"].reasoning) == (40960, True)
    assert found["qwen3:latest"].price == Price()
    assert found["words:1b"].output_modalities == ["embeddings"]
    assert "tools" in found["strange:1b"].parameters
    paths = [asked.path for asked in upstream.asked]
    assert paths.count("/api/tags") == 2
    assert paths.count("/api/show") == 4, "only the one that could not be shown is asked for again"
    assert "Authorization" not in upstream.asked[0].headers


async def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    shown = {"capabilities": ["completion"], "model_info": {}}
    async with FakeUpstream().listening() as upstream:
        upstream.will(json_answer({"models": [{"name": "llama3:latest", "digest": "d"}]}), json_answer(shown))
        ollama = made(base_url=upstream.url)
        await ollama.models()
        await ollama.close()

    for model in ("llama3", "llama3:latest"):
        body, outgoing = sent(model=model, reasoning=ReasoningConfig(effort="high"), ollama=ollama)

        assert "think" not in body
        assert outgoing.dropped == ["reasoning"]


def test_the_cloud_has_a_catalogue_and_is_not_free() -> None:
    cloud, local = made(base_url=CLOUD, api_key="key-1"), made()

    assert len(cloud.catalogue()) > 20
    assert cloud.unknown("x").price is None
    assert cloud.headers("key-1") == {"Authorization": "Bearer key-1"}
    assert (local.catalogue(), local.unknown("x").price) == ([], Price())
    assert (cloud.settings.discover, local.settings.discover) == (False, True)


def test_it_is_there_where_a_server_answers() -> None:
    (offer,) = Ollama.automatic

    assert (offer.slug, offer.probe) == ("ollama", "http://127.0.0.1:11434/api/version")


# --- through a router ------------------------------------------------------------------------------------------------


async def test_a_picture_is_fetched_and_a_stream_relayed(tmp_path: Path) -> None:
    """An OpenAI client, a picture by its URL, an answer in lines."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/picture.png":
            return web.Response(body=b"\x89PNG", content_type="image/png")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        content = recorded("text_stream")
        for at in range(0, len(content), 11):
            await response.write(content[at : at + 11])
        return response

    async with FakeUpstream().listening() as upstream:
        upstream.will(answer)
        table = {"plugin": "ollama", "base_url": upstream.url, "discover": False}
        settings = Settings(providers={"ollama": table}, fetch=FetchSettings(allow_private=True))
        async with running(settings, tmp_path) as router:
            picture = {"type": "image_url", "image_url": {"url": upstream.url + "/picture.png"}}
            content = [{"type": "text", "text": "What is this?"}, picture]
            body = {"model": "ollama/qwen3:8b", "stream": True, "messages": [{"role": "user", "content": content}]}
            response = await router.post("/v1/chat/completions", body)
            text = await response.text()

    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Grüße aus Ås 🌲"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["prompt_tokens"] == 12
    asked = next(each for each in upstream.asked if each.path == "/api/chat")
    assert asked.body["messages"][0]["images"] == [base64.b64encode(b"\x89PNG").decode()]
