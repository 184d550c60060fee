"""Requests of the hub as bodies of generateContent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from router_gemini import Gemini

from router.model import (
    AnyPart,
    Audio,
    ChatRequest,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningConfig,
    Refusal,
    ResponseFormat,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)

OURS = "google-gemini-v1"
PICTURE = "iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": ["string", "null"], "title": "City"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="weather", description="What the sky does", parameters=Raw(json.dumps(SCHEMA).encode()))
FORM = ResponseFormat(type="json_schema", schema=Raw(json.dumps(SCHEMA).encode()))


def says(role: Role, *content: AnyPart | str) -> Message:
    return Message(role=role, content=[Text(text=each) if isinstance(each, str) else each for each in content])


def asks(*messages: Message, model: str = "gemini-3-flash-preview", **members: Any) -> ChatRequest:
    return ChatRequest(model=model, messages=list(messages or (says("user", "Hi"),)), **members)


@pytest.fixture
def body(gemini: Gemini) -> Any:
    """Encodes a request and reads the body."""
    return lambda request: json.loads(gemini.encode(request).body)


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-2.5-flash", False, "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", True, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("tunedModels/mine", False, "/v1beta/tunedModels/mine:generateContent"),
        ("a?key=b#c:d", False, "/v1beta/models/a%3Fkey%3Db%23c%3Ad:generateContent"),
    ],
)
def test_the_path_names_model_and_method(model: str, stream: bool, path: str, gemini: Gemini) -> None:
    assert gemini.encode(asks(model=model, stream=stream)).path == path


def test_the_key_is_in_googles_header(gemini: Gemini) -> None:
    assert gemini.headers("k") == {"x-goog-api-key": "k"}
    assert gemini.headers("") == {}


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_plain_question_is_nothing_more(body: Any) -> None:
    assert body(asks()) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_the_systems_words_stand_apart(body: Any) -> None:
    sent = body(asks(says("system", "Be brief."), says("user", "Hi"), says("developer", "In Norwegian.")))

    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "In Norwegian."}]}
    assert [turn["role"] for turn in sent["contents"]] == ["user"]


def test_turns_of_one_role_become_one(body: Any) -> None:
    sent = body(
        asks(says("user", "a"), says("user", "b"), says("assistant", "c"), says("assistant", "d", Refusal(text="e")))
    )

    assert sent["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}, {"text": "e"}]},
    ]


def test_there_is_always_a_turn(body: Any) -> None:
    assert body(asks(says("system", "Be brief.")))["contents"] == [{"role": "user", "parts": [{"text": ""}]}]


def test_an_empty_answer_in_the_history_is_left_out(body: Any) -> None:
    assert len(body(asks(says("user", "a"), says("assistant", ""), says("user", "b")))["contents"]) == 1


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (Image(data=PICTURE, media_type="image/webp"), {"inlineData": {"mimeType": "image/webp", "data": PICTURE}}),
        (Image(data=PICTURE, media_type="image/jpg"), {"inlineData": {"mimeType": "image/jpeg", "data": PICTURE}}),
        (Image(data=PICTURE), {"inlineData": {"mimeType": "image/png", "data": PICTURE}}),
        (Image(data="/9j/AA=="), {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/AA=="}}),
        (Image(url="gs://b/x.webp"), {"fileData": {"mimeType": "image/webp", "fileUri": "gs://b/x.webp"}}),
        (Audio(data="AAAA", format="wav"), {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
        (Audio(data="AAAA", format="mp3"), {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}),
        (Video(data="AAAA", media_type="video/webm"), {"inlineData": {"mimeType": "video/webm", "data": "AAAA"}}),
        (
            Video(url="https://youtu.be/abc"),
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/abc"}},
        ),
        (
            File(data="JVBERi0=", filename="a.pdf"),
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        ),
        (
            File(data="JVBERi0=", media_type="application/octet-stream"),
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        ),
        (File(data="aGk=", filename="a.txt"), {"inlineData": {"mimeType": "text/plain", "data": "aGk="}}),
        (
            File(file_id="files/abc"),
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        ),
        (Opaque(family="gemini", raw=Raw(b'{"hologram":1}')), {"hologram": 1}),
    ],
)
def test_media_by_their_kind(part: AnyPart, sent: dict[str, Any], body: Any) -> None:
    assert body(asks(says("user", part)))["contents"][0]["parts"] == [sent]


@pytest.mark.parametrize(
    ("url", "reads"),
    [
        ("https://www.youtube.com/watch?v=abc", True),
        ("https://youtu.be/abc", True),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", True),
        ("gs://bucket/a.mp4", True),
        ("https://example.com/youtube.com/a.png", False),
        ("https://youtube.com.example.com/a.png", False),
        ("http://example.com/a.png", False),
    ],
)
def test_which_urls_google_reads_itself(url: str, reads: bool, gemini: Gemini) -> None:
    assert gemini.reads(url) is reads


def test_parts_of_another_family_are_named_as_dropped(gemini: Gemini) -> None:
    out = gemini.encode(asks(says("user", "Hi", Opaque(family="openai", raw=Raw(b"{}")))))

    assert out.dropped == ["messages.content.opaque"]


# --- tools -----------------------------------------------------------------------------------------------------------


def test_calls_and_their_answers(body: Any) -> None:
    sent = body(
        asks(
            says("user", "Weather?"),
            says(
                "assistant",
                ToolCall(id="c1", name="weather", arguments='{"city": "Oslo"}'),
                Reasoning(kind="encrypted", data="c2ln", format=OURS, id="c1"),
                ToolCall(id="c2", name="now"),
            ),
            says("tool", ToolResult(tool_call_id="c1", content=[Text(text="rain")])),
            says("tool", ToolResult(tool_call_id="c2", content=[Text(text="broken")], is_error=True)),
            says("user", "And?"),
        )
    )

    assert sent["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}},
                    "thoughtSignature": "c2ln",
                },
                {"functionCall": {"id": "c2", "name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "rain"}}},
                {"functionResponse": {"id": "c2", "name": "now", "response": {"error": "broken"}}},
                {"text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ["not json", "[1]", '{"a":', '"text"', "[" * 5000])
def test_arguments_that_are_no_object_are_wrapped(arguments: str, body: Any) -> None:
    sent = body(asks(says("assistant", ToolCall(id="c1", name="f", arguments=arguments))))

    assert sent["contents"][0]["parts"][0]["functionCall"]["args"] == {"_raw": arguments}


def test_gemini_3_takes_pictures_inside_an_answer(body: Any) -> None:
    sent = body(asks(*picture_from_a_tool()))

    (answer,) = sent["contents"][-1]["parts"]
    assert answer["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}]


def test_older_models_get_pictures_behind_all_answers(body: Any) -> None:
    sent = body(asks(*picture_from_a_tool("c1", "c2"), model="gemini-2.5-flash"))

    assert [next(iter(part)) for part in sent["contents"][-1]["parts"]] == [
        "functionResponse",
        "functionResponse",
        "text",
        "inlineData",
        "text",
        "inlineData",
    ]


def picture_from_a_tool(*ids: str) -> list[Message]:
    ids = ids or ("c1",)
    return [
        says("user", "Show me"),
        says("assistant", *(ToolCall(id=id, name="look") for id in ids)),
        *(says("tool", ToolResult(tool_call_id=id, content=[Text(text="see"), Image(data=PICTURE)])) for id in ids),
    ]


def test_new_models_take_json_schema_as_it_is(body: Any) -> None:
    sent = body(asks(tools=[WEATHER], model="gemini-2.5-flash"))

    assert sent["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "What the sky does", "parametersJsonSchema": SCHEMA}
            ]
        }
    ]


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemma-4-31b-it"])
def test_others_take_googles_own_kind(model: str, body: Any) -> None:
    empty = Tool(name="now", parameters=Raw(b'{"type":"object","properties":{}}'))
    first, second = body(asks(tools=[WEATHER, empty], model=model))["tools"][0]["functionDeclarations"]

    assert first["parameters"] == {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING", "nullable": True}},
        "required": ["city"],
    }
    assert second == {"name": "now"}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (ToolChoice(mode="named", name="weather"), {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_which_tool_may_be_called(choice: ToolChoice, sent: dict[str, Any], body: Any) -> None:
    assert body(asks(tools=[WEATHER], tool_choice=choice))["toolConfig"] == {"functionCallingConfig": sent}


def test_googles_own_tools_are_for_googles_clients(gemini: Gemini) -> None:
    tool = Tool(name="googleSearch", server=Raw(b'{"googleSearch":{}}'))

    theirs = json.loads(gemini.encode(asks(tools=[tool], family="gemini")).body)
    others = gemini.encode(asks(tools=[tool]))

    assert theirs["tools"] == [{"googleSearch": {}}]
    assert "tools" not in json.loads(others.body)
    assert others.dropped == ["tools"]


# --- signatures ------------------------------------------------------------------------------------------------------


def signature(data: str, id: str | None = None) -> Reasoning:
    return Reasoning(kind="encrypted", data=data, format=OURS, id=id)


def test_a_history_in_order_goes_back_as_it_came(recording: Any, gemini: Gemini, body: Any) -> None:
    recorded = recording("plain_image")["response"]["body"]
    reply = gemini.decode(json.dumps(recorded).encode())

    sent = body(asks(says("user", "Paint"), Message(role="assistant", content=reply.choices[0].content)))

    assert sent["contents"][1]["parts"] == recorded["candidates"][0]["content"]["parts"]


async def test_what_google_ran_goes_back_as_it_came(recording: Any, gemini: Gemini, body: Any) -> None:
    lines = recording("stream_code")["response"]["sse"].splitlines()
    events = [json.loads(line[5:]) for line in lines if line.startswith("data:")]
    parts = [part for event in events for part in event["candidates"][0]["content"]["parts"]]
    reply = gemini.decode(json.dumps(events).encode())

    sent = body(asks(says("user", "Sum"), Message(role="assistant", content=reply.choices[0].content)))

    assert sent["contents"][1]["parts"] == [parts[0], parts[2], {"text": "The sum is 28.", **signed(parts[4])}]


def signed(part: dict[str, Any]) -> dict[str, str]:
    return {"thoughtSignature": part["thoughtSignature"]}


def test_signatures_in_front_of_all_content_find_their_parts(body: Any) -> None:
    """As chat clients send them: `reasoning_details` know no order with the text."""
    thought = Reasoning(text="Hm.", format=OURS)
    sent = body(asks(says("assistant", thought, signature("one"), signature("two"), "Here.", Image(data=PICTURE))))

    assert sent["contents"][0]["parts"] == [
        {"text": "Hm.", "thought": True},
        {"text": "Here.", "thoughtSignature": "one"},
        {"inlineData": {"mimeType": "image/png", "data": PICTURE}, "thoughtSignature": "two"},
    ]


def test_a_signature_without_a_part_goes_on_an_empty_text(body: Any) -> None:
    call = ToolCall(id="c1", name="f")
    sent = body(asks(says("assistant", signature("loose"), call, signature("own", "c1"))))

    assert sent["contents"][0]["parts"] == [
        {"text": "", "thoughtSignature": "loose"},
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "own"},
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        Reasoning(text="Hm.", signature="EqQ", format="anthropic-claude-v1"),
        Reasoning(kind="encrypted", data="gAAA", format="openai-responses-v1", id="c1"),
        Reasoning(kind="encrypted", data="gAAA", id="c1"),
        Reasoning(text="Hm."),
        Reasoning(kind="encrypted", data="gAAA", format=OURS, id="another call"),
        Reasoning(kind="server_tool_call", data="no json", format=OURS),
    ],
)
def test_nothing_of_another_family_is_sent(foreign: Reasoning, body: Any) -> None:
    sent = body(asks(says("assistant", foreign, "Hi", ToolCall(id="c1", name="f")), model="gemini-2.5-pro"))

    assert sent["contents"][0]["parts"] == [
        {"text": "Hi"},
        {"functionCall": {"id": "c1", "name": "f", "args": {}}},
    ]


def test_gemini_3_gets_a_stand_in_for_a_lost_signature(body: Any) -> None:
    calls = [ToolCall(id="c1", name="f"), ToolCall(id="c2", name="f")]

    parts = body(asks(says("assistant", *calls)))["contents"][0]["parts"]

    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]


# --- generationConfig ------------------------------------------------------------------------------------------------


def test_every_parameter_has_its_name(gemini: Gemini) -> None:
    out = gemini.encode(
        asks(
            max_tokens=100,
            temperature=2.0,
            top_p=0.5,
            top_k=40,
            n=3,
            seed=7,
            stop=["a", "", "b"],
            presence_penalty=1.0,
            frequency_penalty=-1.0,
            logprobs=True,
            top_logprobs=5,
        )
    )

    assert json.loads(out.body)["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 2.0,
        "topP": 0.5,
        "topK": 40,
        "candidateCount": 3,
        "seed": 7,
        "stopSequences": ["a", "b"],
        "presencePenalty": 1.0,
        "frequencyPenalty": -1.0,
        "responseLogprobs": True,
        "logprobs": 5,
    }
    assert out.dropped == []


def test_what_cannot_be_said_is_named(gemini: Gemini) -> None:
    out = gemini.encode(
        asks(
            says("user", Text(text="Hi", cache_control=Raw(b'{"type":"ephemeral"}'))),
            min_p=0.1,
            top_a=0.1,
            repetition_penalty=1.1,
            logit_bias={"1": 2},
            user="u",
            verbosity="low",
            tools=[WEATHER],
            parallel_tool_calls=False,
            service_tier="scale",
            response_format=ResponseFormat(type="grammar", grammar="x"),
            extra={"metadata": Raw(b"{}"), "modalities": Raw(b'["text"]')},
        )
    )

    assert out.dropped == [
        "cache_control",
        "logit_bias",
        "metadata",
        "min_p",
        "parallel_tool_calls",
        "repetition_penalty",
        "response_format",
        "service_tier",
        "top_a",
        "user",
        "verbosity",
    ]


def test_too_much_is_cut_with_a_warning(gemini: Gemini) -> None:
    out = gemini.encode(asks(stop=list("abcdefg"), seed=2**31 + 5))

    assert json.loads(out.body)["generationConfig"] == {"stopSequences": list("abcde"), "seed": 5}
    assert len(out.warnings) == 2


def test_other_kinds_of_output(body: Any) -> None:
    extra = {
        "modalities": Raw(b'["text","image"]'),
        "audio": Raw(b'{"voice":"Kore","format":"wav"}'),
        "image_config": Raw(b'{"aspect_ratio":"16:9","seed":1}'),
    }

    assert body(asks(extra=extra, service_tier="flex")) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
            "imageConfig": {"aspectRatio": "16:9"},
        },
        "serviceTier": "flex",
    }


def test_members_in_googles_own_words_go_over(body: Any) -> None:
    sent = body(asks(family="gemini", extra={"cachedContent": Raw(b'"cachedContents/x"')}))

    assert sent["cachedContent"] == "cachedContents/x"


# --- the form of the answer ------------------------------------------------------------------------------------------


def test_a_schema_for_the_answer(body: Any) -> None:
    assert body(asks(response_format=FORM))["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    assert body(asks(response_format=FORM, model="gemini-2.0-flash"))["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseSchema": {
            "type": "OBJECT",
            "properties": {"city": {"type": "STRING", "nullable": True}},
            "required": ["city"],
        },
    }


def test_any_json(body: Any) -> None:
    sent = body(asks(response_format=ResponseFormat(type="json_object")))

    assert sent["generationConfig"] == {"responseMimeType": "application/json"}


def test_gemini_3_takes_schema_and_tools_together(body: Any) -> None:
    sent = body(asks(response_format=FORM, tools=[WEATHER]))

    assert "tools" in sent
    assert "responseJsonSchema" in sent["generationConfig"]


def test_before_that_the_schema_becomes_an_instruction(gemini: Gemini) -> None:
    out = gemini.encode(asks(response_format=FORM, tools=[WEATHER], model="gemini-2.5-flash"))

    sent = json.loads(out.body)
    assert "generationConfig" not in sent
    assert json.dumps(SCHEMA) in sent["systemInstruction"]["parts"][0]["text"]
    assert out.warnings


def test_before_that_tools_that_may_not_be_called_give_way(body: Any) -> None:
    request = asks(response_format=FORM, tools=[WEATHER], tool_choice=ToolChoice(mode="none"), model="gemini-2.5-flash")

    sent = body(request)

    assert "tools" not in sent
    assert "toolConfig" not in sent
    assert sent["generationConfig"]["responseJsonSchema"] == SCHEMA


# --- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "max_tokens", "sent"),
    [
        ("gemini-2.5-flash", {"effort": "low"}, 10_000, {"includeThoughts": True, "thinkingBudget": 2000}),
        ("gemini-2.5-flash", {"effort": "high"}, None, {"includeThoughts": True, "thinkingBudget": 19660}),
        ("gemini-2.5-flash", {"effort": "max"}, 100_000, {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.5-flash", {"effort": "none"}, None, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"enabled": True}, None, {"includeThoughts": True}),
        ("gemini-2.5-flash", {"max_tokens": 3000, "exclude": True}, None, {"thinkingBudget": 3000}),
        ("gemini-2.5-flash-lite", {"enabled": True}, None, {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-2.5-flash-lite", {"effort": "minimal"}, 100, {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-pro", {"enabled": False}, None, {"thinkingBudget": 128}),
        ("gemini-3-pro-preview", {"effort": "medium"}, None, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-pro-preview", {"effort": "none"}, None, {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", {"effort": "medium"}, None, {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", {"effort": "xhigh"}, None, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-flash-preview", {"effort": "minimal"}, None, {"includeThoughts": True, "thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash-preview", {"max_tokens": 5000}, None, {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", {"enabled": True}, None, {"includeThoughts": True}),
        ("gemini-3.8-flash", {"effort": "minimal"}, None, {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-flash-latest", {"effort": "none"}, None, {"thinkingLevel": "LOW"}),
        ("gemini-2.5-flash", {}, None, None),
        ("gemini-2.5-flash", {"exclude": True}, None, None),
        ("gemini-2.0-flash", {"effort": "high"}, None, None),
        ("gemini-2.5-flash-image", {"effort": "high"}, None, None),
    ],
)
def test_how_much_to_think(
    model: str, asked: dict[str, Any], max_tokens: int | None, sent: dict[str, Any] | None, body: Any
) -> None:
    request = asks(model=model, reasoning=ReasoningConfig(**asked), max_tokens=max_tokens)

    assert body(request).get("generationConfig", {}).get("thinkingConfig") == sent


def test_a_model_that_cannot_be_told_to_think_says_so(gemini: Gemini) -> None:
    request = asks(model="gemini-2.0-flash", reasoning=ReasoningConfig(effort="high"))

    assert gemini.encode(request).dropped == ["reasoning"]


# --- clients of Google's own API -------------------------------------------------------------------------------------


def test_what_the_hub_has_no_word_for_is_laid_over_the_rest(body: Any) -> None:
    video = Video(url="https://youtu.be/x", media_type="video/mp4", extra={"videoMetadata": Raw(b'{"fps":2}')})
    own = {"generationConfig": Raw(b'{"mediaResolution":"LOW"}'), "safetySettings": Raw(b"[]")}
    tool = Tool(name="f", extra={"behavior": Raw(b'"BLOCKING"')})

    sent = body(asks(says("user", video), temperature=0.5, family="gemini", extra=own, tools=[tool]))

    assert sent["contents"][0]["parts"][0]["videoMetadata"] == {"fps": 2}
    assert sent["generationConfig"] == {"temperature": 0.5, "mediaResolution": "LOW"}
    assert sent["safetySettings"] == []
    assert sent["tools"] == [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}]


def test_what_others_say_beyond_the_hub_stays_out(body: Any) -> None:
    part = Text(text="a", extra={"citations": Raw(b"{}")})

    sent = body(asks(says("user", part), tools=[Tool(name="f", extra={"eager": Raw(b"true")})], family="anthropic"))

    assert sent["contents"][0]["parts"] == [{"text": "a"}]
    assert sent["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


@pytest.mark.parametrize(
    ("family", "response"),
    [("gemini", {"result": {"sky": "blue"}}), ("openai", {"output": '{"result": {"sky": "blue"}}'})],
)
def test_an_object_that_a_function_answered(family: str, response: Any, body: Any) -> None:
    result = ToolResult(tool_call_id="c", name="f", content=[Text(text='{"result": {"sky": "blue"}}')])

    sent = body(
        asks(says("user", "a"), says("assistant", ToolCall(id="c", name="f")), says("tool", result), family=family)
    )

    assert sent["contents"][-1]["parts"][0]["functionResponse"]["response"] == response
