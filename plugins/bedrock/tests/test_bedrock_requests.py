"""What is sent to Converse for what a client asked."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec import Raw
from router_bedrock import Bedrock, BedrockSettings

from router.errors import BadRequest
from router.model import (
    AnyPart,
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
from router.provider import Timeouts

SONNET = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-4-8"
NOVA = "us.amazon.nova-2-lite-v1:0"
PIXTRAL = "mistral.pixtral-large-2502-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
FAMILY = "anthropic-claude-v1"
MARK = Raw(b'{"type":"ephemeral"}')
CITY = Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
WEATHER = Tool(name="weather", description="The weather", parameters=CITY)
SCHEMA = ResponseFormat(type="json_schema", schema=Raw(b'{"type":"object","properties":{"a":{"type":"integer"}}}'))


def user(*parts: AnyPart | str) -> Message:
    return Message(role="user", content=[Text(text=part) if isinstance(part, str) else part for part in parts])


def assistant(*parts: AnyPart | str) -> Message:
    return Message(role="assistant", content=[Text(text=part) if isinstance(part, str) else part for part in parts])


def tool(id: str, *parts: AnyPart | str, **rest: Any) -> Message:
    content = [Text(text=part) if isinstance(part, str) else part for part in parts]
    return Message(role="tool", content=[ToolResult(tool_call_id=id, content=content, **rest)])


def system(text: str) -> Message:
    return Message(role="system", content=[Text(text=text)])


class Sent:
    """A request, encoded."""

    def __init__(self, bedrock: Bedrock, *messages: Message, model: str = SONNET, **members: Any) -> None:
        self.out = bedrock.encode(ChatRequest(model=model, messages=list(messages or (user("Hi"),)), **members))
        self.body = json.loads(self.out.body)

    @property
    def turns(self) -> Any:
        return [(turn["role"], turn["content"]) for turn in self.body["messages"]]


def test_a_plain_question(bedrock: Bedrock) -> None:
    sent = Sent(bedrock, system("Be brief."), user("Hi"), max_tokens=50, temperature=0.5, stop=["END", " "])

    assert sent.out.path == "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert sent.body == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["END"]},
    }


def test_paths(bedrock: Bedrock) -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"

    assert Sent(bedrock, stream=True, model=NOVA).out.path == "/model/us.amazon.nova-2-lite-v1%3A0/converse-stream"
    assert Sent(bedrock, model=arn).out.path.startswith(
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc/"
    )


def test_turns_alternate_and_begin_with_the_user(bedrock: Bedrock) -> None:
    sent = Sent(
        bedrock, assistant("Hello."), user("a"), user("b", " "), system("Later."), assistant(""), assistant("c")
    )

    assert sent.turns == [
        ("user", [{"text": "."}]),
        ("assistant", [{"text": "Hello."}]),
        ("user", [{"text": "a"}, {"text": "b"}, {"text": "<system>Later.</system>"}]),
        ("assistant", [{"text": "c"}]),
    ]


def test_tools_there_and_back(bedrock: Bedrock) -> None:
    calls = assistant(
        "Look:", ToolCall(id="c1", name="weather", arguments='{"city":"Ås"}'), ToolCall(id="c.2", name="weather")
    )
    sent = Sent(
        bedrock, user("?"), calls, tool("c.2", "no", is_error=True), tool("c1", "rain"), user("So?"), tools=[WEATHER]
    )

    odd = sent.body["messages"][1]["content"][2]["toolUse"]["toolUseId"]
    assert odd.startswith("c_2_")
    assert sent.turns[1:] == [
        (
            "assistant",
            [
                {"text": "Look:"},
                {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Ås"}}},
                {"toolUse": {"toolUseId": odd, "name": "weather", "input": {}}},
            ],
        ),
        (
            "user",
            [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "rain"}]}},
                {"toolResult": {"toolUseId": odd, "content": [{"text": "no"}], "status": "error"}},
                {"text": "So?"},
            ],
        ),
    ]
    spec = {"name": "weather", "description": "The weather", "inputSchema": {"json": json.loads(bytes(CITY))}}
    assert sent.body["toolConfig"] == {"tools": [{"toolSpec": spec}]}


def test_every_call_is_answered_and_every_answer_asked_for(bedrock: Bedrock) -> None:
    call = ToolCall(id="c1", name="weather", arguments="not JSON")
    sent = Sent(bedrock, user("?"), assistant(call), user("Well?"), tool("c9", "late"))

    assert sent.turns[1] == (
        "assistant",
        [{"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"_raw": "not JSON"}}}],
    )
    assert sent.turns[2] == (
        "user",
        [
            {"toolResult": {"toolUseId": "c1", "content": [{"text": "[no result]"}]}},
            {"text": "Well?"},
            {"text": "[result of tool call c9]"},
            {"text": "late"},
        ],
    )
    assert [each["toolSpec"]["name"] for each in sent.body["toolConfig"]["tools"]] == ["weather"]  # refused without any


def test_one_id_for_two_calls(bedrock: Bedrock) -> None:
    both = [assistant(ToolCall(id="x", name="weather")), tool("x", "1")] * 2
    sent = Sent(bedrock, user("?"), *both, tools=[WEATHER])

    assert [each["toolUse"]["toolUseId"] for _, content in sent.turns for each in content if "toolUse" in each] == [
        "x",
        "x_2",
    ]
    assert [each["toolResult"]["toolUseId"] for _, c in sent.turns for each in c if "toolResult" in each] == [
        "x",
        "x_2",
    ]


@pytest.mark.parametrize(
    ("model", "mode", "choice"),
    [
        (SONNET, "auto", {"auto": {}}),
        (SONNET, "required", {"any": {}}),
        (SONNET, "named", {"tool": {"name": "weather"}}),
        (PIXTRAL, "named", {"any": {}}),
        (LLAMA, "required", {"auto": {}}),
    ],
)
def test_tool_choice(bedrock: Bedrock, model: str, mode: Any, choice: Any) -> None:
    tools = [WEATHER, Tool(name="other", parameters=CITY)]
    sent = Sent(
        bedrock, model=model, tools=tools, tool_choice=ToolChoice(mode=mode, name="weather" if mode == "named" else "")
    )

    names = [each["toolSpec"]["name"] for each in sent.body["toolConfig"]["tools"]]
    assert sent.body["toolConfig"]["toolChoice"] == choice
    assert names == (["weather"] if model == PIXTRAL else ["weather", "other"])
    assert bool(sent.out.warnings) == (model == LLAMA)


def test_no_tool_may_be_called(bedrock: Bedrock) -> None:
    none = ToolChoice(mode="none")
    fresh = Sent(bedrock, tools=[WEATHER], tool_choice=none)
    talk = [user("?"), assistant(ToolCall(id="c1", name="weather")), tool("c1", "rain")]
    later = Sent(bedrock, *talk, tools=[WEATHER], tool_choice=none)

    assert "toolConfig" not in fresh.body
    assert "toolChoice" not in later.body["toolConfig"]
    assert later.body["system"] == [{"text": "Do not call any tool now."}]


def test_media(bedrock: Bedrock) -> None:
    parts = [
        Image(data="AAAA", media_type="image/jpg"),
        File(data="BBBB", media_type="application/pdf", filename="my_report: 1.pdf"),
        File(data="BBBB", media_type="application/pdf", filename="my_report: 1.pdf"),
        File(data=base64.b64encode("Ås".encode()).decode(), media_type="text/plain", filename="a.txt"),
        Video(data="CCCC", media_type="video/quicktime"),
        Video(url="s3://bucket/film.webm"),
    ]
    content = Sent(bedrock, user(*parts)).body["messages"][0]["content"]

    assert content == [
        {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
        {"document": {"name": "my report 1", "format": "pdf", "source": {"bytes": "BBBB"}}},
        {"document": {"name": "my report 1 2", "format": "pdf", "source": {"bytes": "BBBB"}}},
        {"document": {"name": "a", "format": "txt", "source": {"text": "Ås"}}},
        {"video": {"format": "mov", "source": {"bytes": "CCCC"}}},
        {"video": {"format": "webm", "source": {"s3Location": {"uri": "s3://bucket/film.webm"}}}},
        {"text": "See the attached document."},
    ]


@pytest.mark.parametrize(
    "part",
    [
        Audio(data="A", format="wav"),
        Image(data="A", media_type="image/tiff"),
        File(file_id="file-1"),
        File(data="A", media_type="application/zip"),
        File(data="/w==", media_type="text/plain"),
    ],
)
def test_what_cannot_be_said(bedrock: Bedrock, part: AnyPart) -> None:
    with pytest.raises(BadRequest):
        Sent(bedrock, user(part))


@pytest.mark.parametrize(("model", "inside"), [(SONNET, True), (PIXTRAL, False)])
def test_pictures_of_tools(bedrock: Bedrock, model: str, inside: bool) -> None:
    picture = Image(data="AAAA", media_type="image/png")
    sent = Sent(
        bedrock, user("?"), assistant(ToolCall(id="c1", name="weather")), tool("c1", "see", picture), model=model
    )

    result, *behind = sent.turns[2][1]
    block = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    assert result["toolResult"]["content"] == [{"text": "see"}, *([block] if inside else [])]
    assert behind == ([] if inside else [block])


def test_thinking_goes_back_to_claude_alone(bedrock: Bedrock) -> None:
    thoughts = assistant(
        Reasoning(text="Hm.", signature="c2ln", format=FAMILY),
        Reasoning(kind="encrypted", data="Eu8=", format=FAMILY),
        Reasoning(text="Unsigned", format=FAMILY),
        Reasoning(text="Foreign", signature="x", format="google-gemini-v1"),
        "Yes",
    )
    said = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "RXU4PQ=="}},
        {"text": "Yes"},
    ]

    assert Sent(bedrock, user("?"), thoughts, user("!")).turns[1][1] == said
    assert Sent(bedrock, user("?"), thoughts, user("!"), model=NOVA).turns[1][1] == said[2:]


@pytest.mark.parametrize(
    ("model", "reasoning", "fields", "max_tokens"),
    [
        (SONNET, ReasoningConfig(max_tokens=2000), {"thinking": {"type": "enabled", "budget_tokens": 2000}}, 4000),
        (SONNET, ReasoningConfig(effort="high"), {"thinking": {"type": "enabled", "budget_tokens": 3200}}, 4000),
        (
            OPUS,
            ReasoningConfig(effort="xhigh"),
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "xhigh"}},
            4000,
        ),
        (
            NOVA,
            ReasoningConfig(effort="low"),
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
            4000,
        ),
        (
            NOVA,
            ReasoningConfig(effort="xhigh"),
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
            None,
        ),
        (NOVA, ReasoningConfig(effort="none"), {"reasoningConfig": {"type": "disabled"}}, 4000),
        (OSS, ReasoningConfig(effort="minimal"), {"reasoning_effort": "low"}, 4000),
        (LLAMA, ReasoningConfig(effort="high"), None, 4000),
    ],
)
def test_reasoning(
    bedrock: Bedrock, model: str, reasoning: ReasoningConfig, fields: Any, max_tokens: int | None
) -> None:
    sent = Sent(bedrock, model=model, reasoning=reasoning, max_tokens=4000)

    assert sent.body.get("additionalModelRequestFields") == fields
    assert sent.body.get("inferenceConfig", {}).get("maxTokens") == max_tokens
    assert ("reasoning" in sent.out.dropped) == (fields is None)


def test_a_budget_without_a_limit_sends_none(bedrock: Bedrock) -> None:
    sent = Sent(bedrock, reasoning=ReasoningConfig(max_tokens=1024))

    assert "inferenceConfig" not in sent.body
    assert not sent.out.warnings


def test_thinking_excludes_others(bedrock: Bedrock) -> None:
    required = ToolChoice(mode="required")
    sent = Sent(
        bedrock,
        reasoning=ReasoningConfig(effort="low"),
        max_tokens=9000,
        temperature=0.2,
        top_k=5,
        tools=[WEATHER],
        tool_choice=required,
    )

    assert sent.body["inferenceConfig"]["temperature"] == 1.0
    assert sent.body["toolConfig"]["toolChoice"] == {"auto": {}}
    assert "top_k" in sent.out.dropped
    assert len(sent.out.warnings) == 2


@pytest.mark.parametrize(
    ("model", "inference", "fields", "dropped"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", {"temperature": 1.0, "topP": 0.9}, {"top_k": 5}, []),
        (SONNET, {"temperature": 1.0}, {"top_k": 5}, ["top_p"]),
        (OPUS, None, None, ["temperature", "top_p", "top_k"]),
        (NOVA, {"temperature": 1.0, "topP": 0.9}, {"inferenceConfig": {"topK": 5}}, []),
        (LLAMA, {"temperature": 1.0, "topP": 0.9}, None, ["top_k"]),
    ],
)
def test_sampling(bedrock: Bedrock, model: str, inference: Any, fields: Any, dropped: list[str]) -> None:
    sent = Sent(bedrock, model=model, temperature=1.5, top_p=0.9, top_k=5)

    assert sent.body.get("inferenceConfig") == inference
    assert sent.body.get("additionalModelRequestFields") == fields
    assert sent.out.dropped == dropped


@pytest.mark.parametrize(
    ("model", "members", "choice"),
    [
        (SONNET, {}, {"tool": {"name": "json_output"}}),
        (NOVA, {}, {"tool": {"name": "json_output"}}),
        (PIXTRAL, {}, {"any": {}}),
        (SONNET, {"tools": [WEATHER]}, {"any": {}}),
    ],
)
def test_a_schema_is_a_forced_call(bedrock: Bedrock, model: str, members: Any, choice: Any) -> None:
    sent = Sent(bedrock, model=model, response_format=SCHEMA, **members)

    assert sent.body["toolConfig"]["tools"][-1]["toolSpec"]["name"] == "json_output"
    assert sent.body["toolConfig"]["toolChoice"] == choice
    assert "outputConfig" not in sent.body


def test_a_schema_without_a_forced_call(bedrock: Bedrock) -> None:
    thinking = Sent(bedrock, response_format=SCHEMA, reasoning=ReasoningConfig(effort="low"))
    llama = Sent(bedrock, model=LLAMA, response_format=SCHEMA)
    loose = Sent(bedrock, response_format=ResponseFormat(type="json_object"))

    form = thinking.body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(form["schema"])["additionalProperties"] is False
    assert '"integer"' in llama.body["system"][0]["text"]
    assert llama.out.warnings
    assert loose.body["system"][0]["text"].startswith("Answer with one JSON value")


def test_cache_marks(bedrock: Bedrock) -> None:
    hour = Raw(b'{"type":"ephemeral","ttl":"1h"}')
    messages = [
        Message(role="system", content=[Text(text="Rules", cache_control=hour)]),
        user(Text(text="a", cache_control=MARK), "b"),
    ]
    sent = Sent(bedrock, *messages, tools=[Tool(name="weather", parameters=CITY, cache_control=MARK)])
    other = Sent(bedrock, *messages, model=LLAMA)

    point = {"cachePoint": {"type": "default"}}
    assert sent.body["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert sent.body["messages"][0]["content"] == [{"text": "a"}, point, {"text": "b"}]
    assert sent.body["toolConfig"]["tools"][1] == point
    assert "cachePoint" not in str(other.body)
    assert other.out.dropped == ["cache_control"]


def test_four_marks_at_most(bedrock: Bedrock) -> None:
    sent = Sent(bedrock, user(*(Text(text=str(number), cache_control=MARK) for number in range(6))))

    kinds = "".join("." if "cachePoint" in each else each["text"] for each in sent.body["messages"][0]["content"])
    assert kinds == "012.3.4.5."
    assert sent.out.warnings


def test_who_asks_and_how_urgent_it_is(bedrock: Bedrock) -> None:
    plain = Sent(bedrock, user="user-7", service_tier="flex")
    odd = Sent(bedrock, user="Zoë", service_tier="scale")

    assert plain.body["requestMetadata"] == {"user_id": "user-7"}
    assert plain.body["serviceTier"] == {"type": "flex"}
    assert len(odd.body["requestMetadata"]["user_id"]) == 64
    assert odd.out.dropped == ["service_tier"]


def test_bedrocks_own_members(bedrock: Bedrock) -> None:
    extra = {
        "guardrailConfig": Raw(b'{"guardrailIdentifier":"g","guardrailVersion":"1"}'),
        "additionalModelRequestFields": Raw(b'{"x":1}'),
        "requestMetadata": Raw(b'{"team":"a"}'),
        "nonsense": Raw(b"1"),
    }
    sent = Sent(bedrock, extra=extra, user="u", top_k=3)

    assert sent.body["guardrailConfig"] == {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    assert sent.body["additionalModelRequestFields"] == {"top_k": 3, "x": 1}
    assert sent.body["requestMetadata"] == {"user_id": "u", "team": "a"}
    assert sent.out.dropped == ["nonsense"]


def test_the_configured_guardrail() -> None:
    guardrail = {"guardrailIdentifier": "g1", "guardrailVersion": "DRAFT"}
    settings = BedrockSettings(plugin="bedrock", api_key="k", guardrail=guardrail)

    assert Sent(Bedrock("bedrock", settings, Timeouts())).body["guardrailConfig"] == guardrail


def test_tools_of_amazon(bedrock: Bedrock) -> None:
    own = Tool(name="nova_grounding", server=Raw(b'{"type":"nova_grounding"}'))
    foreign = Tool(name="web_search", server=Raw(b'{"type":"web_search_20250305"}'))
    ran = Reasoning(kind="server_tool_call", data='{"toolUse":{"toolUseId":"t","name":"nova_grounding","input":{}}}')
    sent = Sent(bedrock, user("?"), assistant(ran, "4"), user("Sure?"), model=NOVA, tools=[own, foreign])
    without = Sent(bedrock, user("?"), assistant(ran, "4"), user("Sure?"), model=NOVA)

    assert sent.body["toolConfig"]["tools"] == [{"systemTool": {"name": "nova_grounding"}}]
    assert sent.turns[1][1][0] == json.loads(ran.data)
    assert without.turns[1][1] == [{"text": "4"}]
    assert len(sent.out.warnings) == 1


def test_what_has_no_word(bedrock: Bedrock) -> None:
    sent = Sent(
        bedrock, seed=1, min_p=0.1, presence_penalty=1, logprobs=True, parallel_tool_calls=False, tools=[WEATHER]
    )

    assert sorted(sent.out.dropped) == ["logprobs", "min_p", "parallel_tool_calls", "presence_penalty", "seed"]


def test_anthropics_own_bodies() -> None:
    settings = BedrockSettings(plugin="bedrock", api_key="k", api="invoke", headers={"anthropic-beta": "a-1, b-2"})
    invoke = Bedrock("bedrock", settings, Timeouts())
    sent = Sent(invoke, max_tokens=9, stream=True, family="anthropic", headers={"anthropic-beta": "habit-1"})

    assert sent.out.path.endswith("/invoke-with-response-stream")
    assert sent.body == {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["a-1", "b-2"],
    }
    assert Sent(invoke, model=NOVA).out.path.endswith("/converse")


def test_the_environment_offers_it() -> None:
    assert [offer.environment for offer in Bedrock.automatic] == ["AWS_BEARER_TOKEN_BEDROCK"]
