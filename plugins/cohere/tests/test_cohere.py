"""What only Cohere does: plans, citations, documents, ranges, and what it bills."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from router_cohere import Cohere, CohereSettings

from router.errors import BadRequest
from router.events import Reply
from router.model import (
    Audio,
    ChatRequest,
    Citation,
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
from router.sse import open_events
from router.testing import FakeUpstream, json_answer

RECORDINGS = Path(__file__).parent / "recordings"
THINKS, PLAIN, UNKNOWN = "command-a-reasoning-08-2025", "command-a-03-2025", "command-of-tomorrow"
SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
WEATHER, TIME = Tool(name="weather", description="The weather", parameters=SCHEMA), Tool(name="time")


@pytest.fixture
def cohere() -> Cohere:
    return Cohere("cohere", CohereSettings(plugin="cohere", api_key="key-1"), Timeouts())


def said(role: Any, *parts: Any) -> Message:
    return Message(role=role, content=[Text(text=part) if isinstance(part, str) else part for part in parts])


def sent(cohere: Cohere, *messages: Message, **members: Any) -> tuple[dict[str, Any], Outgoing]:
    members = {"model": PLAIN, **members}
    outgoing = cohere.encode(ChatRequest(messages=list(messages) or [said("user", "Hello")], **members))
    return json.loads(outgoing.body), outgoing


async def reply_of(cohere: Cohere, name: str) -> Reply:
    response = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))["response"]
    if "body" in response:
        return cohere.decode(json.dumps(response["body"]).encode())

    async def pieces() -> Any:
        yield response["sse"].encode()

    return await Reply.from_events(cohere.events(open_events(pieces())))


@pytest.mark.parametrize("name", ["citations", "tools"])
async def test_stream_and_plain_say_the_same(cohere: Cohere, name: str) -> None:
    plain, streamed = await reply_of(cohere, f"plain_{name}"), await reply_of(cohere, f"{name}_stream")

    assert streamed.choices == plain.choices
    assert streamed.usage == plain.usage


async def test_citations_point_into_the_text(cohere: Cohere) -> None:
    (choice,) = (await reply_of(cohere, "citations_stream")).choices

    (cited,) = choice.citations
    assert cited == Citation(
        url="https://example.org/as",
        title="Facts",
        start_index=15,
        end_index=19,
        content="Ås lies south of Oslo.",
    )
    assert choice.text[15:19] == "Oslo"


def test_a_citation_of_a_second_block_counts_from_its_beginning(cohere: Cohere) -> None:
    source = {"type": "tool", "id": "call:0", "tool_output": {"content": "four"}}
    message = {
        "content": [{"type": "text", "text": "One. "}, {"type": "text", "text": "Two four."}],
        "citations": [{"start": 4, "end": 8, "text": "four", "sources": [source], "content_index": 1}],
    }
    body = {"message": message, "finish_reason": "COMPLETE"}

    (choice,) = cohere.decode(json.dumps(body).encode()).choices

    (cited,) = choice.citations
    assert choice.text[cited.start_index : cited.end_index] == "four"
    assert (cited.url, cited.content) == ("call:0", "four")


async def test_only_billed_tokens_cost(cohere: Cohere) -> None:
    usage = (await reply_of(cohere, "plain_citations")).usage
    assert usage is not None

    cost = Price(prompt=10, completion=100).cost(usage, 0)

    assert (usage.input, usage.output) == (510, 23)
    assert cost.total == 20 * 10 + 9 * 100


def test_logprobs_are_told_per_piece_of_text(cohere: Cohere) -> None:
    pieces = [
        {"text": "Hi", "token_ids": [1], "logprobs": [-0.5]},
        {"text": "!?", "token_ids": [2, 3], "logprobs": [-1, -2]},
    ]
    message = {"content": [{"type": "text", "text": "Hi!?"}]}
    body = {"message": message, "finish_reason": "COMPLETE", "logprobs": pieces}

    (choice,) = cohere.decode(json.dumps(body).encode()).choices

    assert choice.logprobs is not None
    told = json.loads(bytes(choice.logprobs))["content"]
    assert [(each["token"], each["logprob"]) for each in told] == [("Hi", -0.5), ("!?", -3)]


def test_names_and_ranges(cohere: Cohere) -> None:
    body, outgoing = sent(
        cohere,
        temperature=1.8,
        top_p=1.0,
        top_k=900,
        frequency_penalty=-1.0,
        presence_penalty=0.5,
        seed=7,
        max_tokens=50,
        stop=["a", "", "b", "c", "d", "e", "f"],
        logprobs=True,
    )

    assert (outgoing.path, body["stream"]) == ("/v2/chat", False)
    assert (body["temperature"], body["p"], body["k"]) == (1, 0.99, 500)
    assert (body["frequency_penalty"], body["presence_penalty"]) == (0, 0.5)
    assert (body["seed"], body["max_tokens"], body["logprobs"]) == (7, 50, True)
    assert body["stop_sequences"] == ["a", "b", "c", "d", "e"]
    assert [warning.partition(":")[0] for warning in outgoing.warnings] == [
        "temperature",
        "frequency_penalty",
        "top_k",
        "stop",
    ]


def test_what_it_does_not_know_is_named(cohere: Cohere) -> None:
    extra = {"documents": Raw(b'["Oslo is cold."]'), "safety_mode": Raw(b'"STRICT"'), "modalities": Raw(b'["text"]')}
    body, outgoing = sent(
        cohere,
        min_p=0.1,
        logit_bias={"1": 2.0},
        user="u",
        tools=[WEATHER, Tool(name="web_search", server=Raw(b'{"type":"web_search"}'))],
        parallel_tool_calls=False,
        extra=extra,
    )

    assert body["documents"] == ["Oslo is cold."]
    assert body["safety_mode"] == "STRICT"
    assert len(body["tools"]) == 1
    assert outgoing.dropped == ["logit_bias", "min_p", "modalities", "parallel_tool_calls", "tools", "user"]


@pytest.mark.parametrize(
    ("choice", "names", "told"),
    [
        (None, ["weather", "time"], None),
        (ToolChoice(mode="auto"), ["weather", "time"], None),
        (ToolChoice(mode="none"), ["weather", "time"], "NONE"),
        (ToolChoice(mode="required"), ["weather", "time"], "REQUIRED"),
        (ToolChoice(mode="named", name="time"), ["time"], "REQUIRED"),
    ],
)
def test_tool_choice(cohere: Cohere, choice: ToolChoice | None, names: list[str], told: str | None) -> None:
    body, _ = sent(cohere, tools=[WEATHER, TIME], tool_choice=choice)

    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert body.get("tool_choice") == told


@pytest.mark.parametrize(
    ("model", "config", "wanted", "dropped"),
    [
        (THINKS, ReasoningConfig(enabled=True), {"type": "enabled"}, []),
        (THINKS, ReasoningConfig(max_tokens=500), {"type": "enabled", "token_budget": 500}, []),
        (THINKS, ReasoningConfig(effort="low"), {"type": "enabled", "token_budget": 200}, []),
        (THINKS, ReasoningConfig(effort="none"), {"type": "disabled"}, []),
        (UNKNOWN, ReasoningConfig(enabled=True), {"type": "enabled"}, []),
        (UNKNOWN, ReasoningConfig(effort="none"), None, []),
        (PLAIN, ReasoningConfig(enabled=True), None, ["reasoning"]),
        (PLAIN, ReasoningConfig(effort="none"), None, []),
    ],
)
def test_thinking(cohere: Cohere, model: str, config: ReasoningConfig, wanted: Any, dropped: list[str]) -> None:
    body, outgoing = sent(cohere, model=model, reasoning=config, max_tokens=1000)

    assert body.get("thinking") == wanted
    assert outgoing.dropped == dropped


def test_a_conversation_with_tools(cohere: Cohere) -> None:
    turns = [
        said("system", "Be brief."),
        said("developer", "And kind."),
        said("user", "Weather?", Image(url="https://example.org/a.png", detail="low")),
        said("assistant", Reasoning(text="I will look."), ToolCall(id="w_1", name="weather", arguments="")),
        said(
            "tool",
            ToolResult(tool_call_id="w_1", content=[Text(text="4 °C"), Image(data="aGk=", media_type="image/png")]),
        ),
        said("assistant", Reasoning(text="Not mine.", signature="x", format="anthropic-claude-v1"), "Cold."),
        said("user", "Thanks"),
    ]

    body, outgoing = sent(cohere, *turns, tools=[WEATHER])

    call = {"id": "w_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "And kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Weather?"},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
            ],
        },
        {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "w_1", "content": "4 °C"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]},
        {"role": "assistant", "content": "Cold."},
        {"role": "user", "content": "Thanks"},
    ]
    assert outgoing.dropped == ["reasoning_details"]


def test_thoughts_go_back_to_models_that_think(cohere: Cohere) -> None:
    turns = [said("user", "?"), said("assistant", Reasoning(text="Hm."), "42"), said("user", "Why?")]

    body, _ = sent(cohere, *turns, model=THINKS)
    _, outgoing = sent(cohere, *turns, model=PLAIN)

    assert body["messages"][1]["content"] == [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "42"}]
    assert outgoing.dropped == ["reasoning_details"]


def test_files_of_text_are_documents(cohere: Cohere) -> None:
    note = base64.b64encode("Ås".encode()).decode()
    body, _ = sent(cohere, said("user", "What?", File(data=note, media_type="text/plain", filename="note.txt")))

    assert body["documents"] == [{"id": "doc:0", "data": {"title": "note.txt", "text": "Ås"}}]
    assert body["messages"] == [{"role": "user", "content": "What?"}]


@pytest.mark.parametrize(
    "part",
    [
        Audio(data="aGk=", format="mp3"),
        File(data="JVBERi0=", media_type="application/pdf", filename="a.pdf"),
        File(data="/w==", media_type="text/plain", filename="n.txt"),
    ],
)
def test_what_cannot_be_said_at_all(cohere: Cohere, part: Any) -> None:
    with pytest.raises(BadRequest):
        sent(cohere, said("user", part))


def test_the_form_of_the_answer(cohere: Cohere) -> None:
    form = ResponseFormat(type="json_schema", schema=SCHEMA)

    alone, _ = sent(cohere, response_format=form)
    beside, outgoing = sent(cohere, response_format=form, tools=[WEATHER])

    assert alone["response_format"] == {"type": "json_object", "json_schema": json.loads(bytes(SCHEMA))}
    assert "response_format" not in beside
    assert bytes(SCHEMA).decode() in beside["messages"][0]["content"]
    assert len(outgoing.warnings) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(498, "content_policy_violation"), (499, "provider_unavailable"), (501, "invalid_request")]
)
def test_statuses_of_its_own(cohere: Cohere, status: int, kind: str) -> None:
    assert cohere.error(status, {}, b'{"message":"no"}').kind == kind


async def test_the_list_of_models_page_by_page() -> None:
    async with FakeUpstream().listening() as upstream:
        first = {"models": [{"name": PLAIN, "endpoints": ["chat"]}], "next_page_token": "a/b"}
        second = {"models": [{"name": UNKNOWN, "context_length": 9.0, "supports_vision": True}]}
        upstream.will(json_answer(first), json_answer(second))
        cohere = Cohere("cohere", CohereSettings(plugin="cohere", api_key="k", base_url=upstream.url), Timeouts())
        models = await cohere.models()
        await cohere.close()

    assert [asked.path for asked in upstream.asked] == [
        "/v1/models?endpoint=chat&page_size=1000",
        "/v1/models?endpoint=chat&page_size=1000&page_token=a%2Fb",
    ]
    assert [(model.id, model.context_length) for model in models] == [(PLAIN, 256000), (UNKNOWN, 9)]
    assert models[1].input_modalities == ["text", "image"]


def test_it_is_there_with_its_key() -> None:
    (offer,) = Cohere.automatic

    assert (offer.slug, offer.environment) == ("cohere", "COHERE_API_KEY")
