"""What only Mistral does: its names, its rules of turns, its chunks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec import Raw
from router_mistral import Mistral, MistralSettings
from router_mistral.messages import short_id

from router.errors import BadRequest
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
    Video,
)
from router.provider import Outgoing, Timeouts
from router.testing import FakeUpstream, json_answer

HYBRID, MAGISTRAL, PLAIN = "mistral-small-latest", "magistral-medium-latest", "mistral-large-latest"
SCHEMA = Raw(b'{"type":"object"}')
WEATHER, TIME = Tool(name="weather", parameters=SCHEMA), Tool(name="time")


@pytest.fixture
def mistral() -> Mistral:
    return Mistral("mistral", MistralSettings(plugin="mistral", api_key="key-1"), Timeouts())


def said(role: Any, *parts: Any) -> Message:
    return Message(role=role, content=[Text(text=part) if isinstance(part, str) else part for part in parts])


def sent(mistral: Mistral, *messages: Message, **members: Any) -> tuple[dict[str, Any], Outgoing]:
    members = {"model": PLAIN, **members}
    outgoing = mistral.encode(ChatRequest(messages=list(messages) or [said("user", "Hello")], **members))
    return json.loads(outgoing.body), outgoing


def test_names_of_its_own(mistral: Mistral) -> None:
    body, outgoing = sent(
        mistral, seed=42, max_tokens=9, n=2, stream=True, tools=[WEATHER, TIME], tool_choice=ToolChoice(mode="required")
    )

    assert body["random_seed"] == 42
    assert (body["max_tokens"], body["n"], body["tool_choice"]) == (9, 2, "any")
    assert body["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert not {"seed", "stream_options"} & body.keys()
    assert (outgoing.path, outgoing.dropped, outgoing.warnings) == ("/chat/completions", [], [])


def test_a_negative_seed_is_none(mistral: Mistral) -> None:
    body, _ = sent(mistral, seed=-1)

    assert body["random_seed"] == 2**63 - 1


def test_a_named_tool_is_the_only_one_and_must_be_called(mistral: Mistral) -> None:
    body, _ = sent(mistral, tools=[WEATHER, TIME], tool_choice=ToolChoice(mode="named", name="time"))

    assert [tool["function"]["name"] for tool in body["tools"]] == ["time"]
    assert body["tool_choice"] == "any"


def test_what_it_does_not_know_is_named(mistral: Mistral) -> None:
    extra = {"modalities": Raw(b'["text"]'), "safe_prompt": Raw(b"true")}
    tools = [WEATHER, Tool(name="web_search", server=Raw(b'{"type":"web_search"}'))]
    body, outgoing = sent(
        mistral,
        Message(role="user", content=[Text(text="Hei")], name="kari"),
        top_k=5,
        min_p=0.1,
        logit_bias={"1": 2.0},
        logprobs=True,
        user="u",
        temperature=1.9,
        response_format=ResponseFormat(type="grammar", grammar="x"),
        tools=tools,
        extra=extra,
    )

    assert body.keys() == {"model", "messages", "temperature", "tools", "safe_prompt"}
    assert body["temperature"] == 1.5
    assert body["messages"] == [{"role": "user", "content": "Hei"}]
    assert outgoing.dropped == sorted(
        ["logit_bias", "logprobs", "messages.name", "min_p", "modalities", "response_format", "tools", "top_k", "user"]
    )
    assert len(outgoing.warnings) == 1


@pytest.mark.parametrize(
    ("model", "config", "wanted", "dropped"),
    [
        (HYBRID, ReasoningConfig(effort="low"), {"reasoning_effort": "high"}, []),
        (HYBRID, ReasoningConfig(max_tokens=2000), {"reasoning_effort": "high"}, []),
        (HYBRID, ReasoningConfig(effort="none"), {"reasoning_effort": "none"}, []),
        (MAGISTRAL, ReasoningConfig(effort="low"), {"prompt_mode": "reasoning"}, []),
        (MAGISTRAL, ReasoningConfig(enabled=False), {}, []),
        ("magistral-of-tomorrow", ReasoningConfig(enabled=True), {"prompt_mode": "reasoning"}, []),
        (PLAIN, ReasoningConfig(effort="low"), {}, ["reasoning"]),
        (PLAIN, ReasoningConfig(effort="none"), {}, []),
    ],
)
def test_reasoning(
    mistral: Mistral, model: str, config: ReasoningConfig, wanted: dict[str, Any], dropped: list[str]
) -> None:
    body, outgoing = sent(mistral, model=model, reasoning=config)

    assert {name: body[name] for name in ("reasoning_effort", "prompt_mode") if name in body} == wanted
    assert outgoing.dropped == dropped


def test_thinking_goes_back_as_a_chunk_to_models_that_think(mistral: Mistral) -> None:
    turn = said("assistant", Reasoning(text="Seven times six."), "42")

    body, _ = sent(mistral, said("user", "?"), turn, said("user", "And now?"), model=HYBRID)
    plain, outgoing = sent(mistral, said("user", "?"), turn, said("user", "And now?"), model=PLAIN)

    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Seven times six."}]},
        {"type": "text", "text": "42"},
    ]
    assert plain["messages"][1]["content"] == "42"
    assert outgoing.dropped == ["reasoning_details"]


def test_ids_have_nine_letters_and_agree(mistral: Mistral) -> None:
    turns = [
        said("user", "Weather?"),
        said("assistant", ToolCall(id="call_0123456789abcdef", name="weather"), ToolCall(id="a1B2c3D4e", name="time")),
        said("tool", ToolResult(tool_call_id="call_0123456789abcdef", content=[Text(text="4 °C")])),
        said("tool", ToolResult(tool_call_id="a1B2c3D4e", content=[Text(text="noon")])),
    ]

    body, _ = sent(mistral, *turns, tools=[WEATHER, TIME])

    ids = [call["id"] for call in body["messages"][1]["tool_calls"]]
    assert ids == [short_id("call_0123456789abcdef"), "a1B2c3D4e"]
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
    assert [message["tool_call_id"] for message in body["messages"][2:]] == ids
    assert len({short_id(f"call_{number}") for number in range(2000)}) == 2000


def test_an_answer_stands_between_a_result_and_the_user(mistral: Mistral) -> None:
    picture = Image(data="aGk=", media_type="image/png")
    turns = [
        said("user", "Look."),
        said("assistant", ToolCall(id="a1B2c3D4e", name="look")),
        said("tool", ToolResult(tool_call_id="a1B2c3D4e", content=[picture])),
    ]

    body, _ = sent(mistral, *turns)

    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert body["messages"][4]["content"][0]["image_url"]["url"] == "data:image/png;base64,aGk="


def test_the_models_own_words_at_the_end_are_a_prefix(mistral: Mistral) -> None:
    body, _ = sent(mistral, said("user", "Count."), said("assistant", "One, two"))

    assert body["messages"][-1] == {"role": "assistant", "content": "One, two", "prefix": True}


def test_documents_and_audio(mistral: Mistral) -> None:
    note = base64.b64encode("Ås".encode()).decode()
    body, _ = sent(
        mistral,
        said(
            "user",
            File(data="JVBERi0=", media_type="application/pdf", filename="a.pdf"),
            File(url="https://example.org/b.pdf"),
            File(file_id="f-1"),
            File(data=note, media_type="text/plain", filename="note.txt"),
            Audio(data="aGk=", format="mp3"),
        ),
    )

    assert body["messages"][0]["content"] == [
        {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERi0=", "document_name": "a.pdf"},
        {"type": "document_url", "document_url": "https://example.org/b.pdf"},
        {"type": "file", "file_id": "f-1"},
        {"type": "text", "text": "note.txt:\nÅs"},
        {"type": "input_audio", "input_audio": "aGk="},
    ]


@pytest.mark.parametrize(
    "part",
    [Video(url="https://example.org/v.mp4"), File(data="/w==", media_type="application/json", filename="n.json")],
)
def test_what_cannot_be_said_at_all(mistral: Mistral, part: Any) -> None:
    with pytest.raises(BadRequest):
        sent(mistral, said("user", part))


def test_a_list_of_faults_is_told_as_words(mistral: Mistral) -> None:
    fault = {"loc": ["body", "messages", 0, "content"], "msg": "Field required", "type": "missing"}
    for body in ({"detail": [fault]}, {"object": "error", "message": {"detail": [fault]}, "code": None}):
        error = mistral.error(422, {}, json.dumps(body).encode())

        assert (error.kind, error.param) == ("unprocessable", "messages.0.content")
        assert error.message == "messages.0.content: Field required"


def test_a_prompt_that_is_too_long(mistral: Mistral) -> None:
    said_by_it = {"object": "error", "message": "Prompt too large for model with 131072 maximum context length"}

    assert mistral.error(400, {}, json.dumps(said_by_it).encode()).kind == "context_length_exceeded"


async def test_the_list_of_models() -> None:
    entries = [
        {"id": HYBRID, "capabilities": {"completion_chat": True}},
        {
            "id": "mistral-of-tomorrow",
            "max_context_length": 9,
            "capabilities": {"completion_chat": True, "vision": True},
        },
        {"id": "mistral-ocr", "capabilities": {"completion_chat": False, "ocr": True}},
    ]
    async with FakeUpstream().listening() as upstream:
        upstream.will(json_answer({"object": "list", "data": entries}))
        settings = MistralSettings(plugin="mistral", api_key="key-1", base_url=upstream.url + "/v1")
        mistral = Mistral("mistral", settings, Timeouts())
        models = await mistral.models()
        await mistral.close()

    assert upstream.asked[0].path == "/v1/models"
    assert [model.id for model in models] == [HYBRID, "mistral-of-tomorrow"]
    assert models[0].price is not None
    assert (models[1].context_length, models[1].input_modalities) == (9, ["text", "image"])


def test_it_is_there_with_its_key() -> None:
    (offer,) = Mistral.automatic

    assert (offer.slug, offer.environment) == ("mistral", "MISTRAL_API_KEY")
