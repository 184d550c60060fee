"""Gemini requests: what is refused, what goes upstream as it came, and what goes through the hub and back without loss."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.dialects.gemini_generate import fields, marks
from router.errors import BadRequest
from router.model import File, Image, Opaque, Reasoning, ReasoningConfig, Text, ToolCall, ToolResult, Video

from .gemini_making import ASK, DIALECT, Body, decoded, make_call, patched, through_the_hub

SIGNATURE = "c2lnbmF0dXJl"
PICTURE = "iVBORw0KGgo="


def contents(*turns: tuple[str, list[Body]]) -> list[Body]:
    return [{"role": role, "parts": parts} for role, parts in turns]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": None}, "contents"),
        ({"contents": "hello"}, "contents"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "contents[0].role"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({**ASK, "generationConfig": {"temperature": 2.5}}, "generationConfig.temperature"),
        ({**ASK, "generationConfig": {"topP": 1.5}}, "generationConfig.topP"),
        ({**ASK, "generationConfig": {"topK": 2.5}}, "generationConfig.topK"),
        ({**ASK, "generationConfig": {"topK": "many"}}, "generationConfig.topK"),
        ({**ASK, "generationConfig": {"candidateCount": 9}}, "generationConfig.candidateCount"),
        ({**ASK, "generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({**ASK, "generationConfig": {"stopSequences": ["a"] * 17}}, "generationConfig.stopSequences"),
        ({**ASK, "generationConfig": {"stopSequences": "a"}}, "generationConfig.stopSequences"),
        ({**ASK, "generationConfig": {"logprobs": 21}}, "generationConfig.logprobs"),
        ({**ASK, "generationConfig": {"responseSchema": "a"}}, "generationConfig.responseSchema"),
        ({**ASK, "generationConfig": []}, "generationConfig"),
        (
            {**ASK, "generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        (
            {**ASK, "generation_config": {"thinking_config": {"thinking_level": "deep"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            {**ASK, "generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}}},
            "generationConfig.thinkingConfig",
        ),
        ({**ASK, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "toolConfig.functionCallingConfig.mode"),
        ({**ASK, "tools": [{"functionDeclarations": [{"description": "a"}]}]}, "tools[0].functionDeclarations[0].name"),
        ({**ASK, "tools": [{"functionDeclarations": [{"name": ""}]}]}, "tools.functionDeclarations.name"),
        ({**ASK, "systemInstruction": "Be brief."}, "systemInstruction"),
        ({**ASK, "routerConfig": {"sort": "price"}}, "routerConfig.sort"),
        ({**ASK, "routerConfig": {"models": "a"}}, "routerConfig.models"),
        ({**ASK, "router_config": {"provider": {"soort": "price"}}}, "routerConfig.provider.soort"),
        ({**ASK, "system_instruction": {}, "systemInstruction": {}}, "systemInstruction"),
    ],
)
def test_a_wrong_member_is_named(body: Body, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        make_call(body)

    assert caught.value.param == param
    status, told = DIALECT.error(caught.value, "req_1")
    error = json.loads(told)["error"]
    assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert param.split(".")[-1].split("[")[0] in error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b'{"contents":"\xff"}', b"[" * 5000])
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(BadRequest):
        make_call(body)


@pytest.mark.parametrize("model", ["", "models/", "a\nb", "a" * 300])
def test_a_path_without_a_model(model: str) -> None:
    with pytest.raises(BadRequest):
        DIALECT.peek(json.dumps(ASK).encode(), {"model": model}, "chat")


@settings(max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        _json := lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(sorted(fields.REQUEST.names | fields.CONFIG)), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_no_body_is_a_bug(value: Any) -> None:
    """Whatever comes is taken or refused, in the hub too."""
    body = {**ASK, **value} if isinstance(value, dict) else {"contents": value}
    try:
        DIALECT.decode(make_call(body).head)
    except BadRequest:
        return


# --- what routing reads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["openai/gpt-5", "models/openai/gpt-5", "models/models/openai/gpt-5"], ids=["bare", "prefixed", "twice"]
)
def test_the_model_is_in_the_path(path: str) -> None:
    assert DIALECT.peek(json.dumps(ASK).encode(), {"model": path}, "chat").model == "openai/gpt-5"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/openai/gpt-4o-mini:generateContent", "models/openai/gpt-4o-mini"),
        ("/v1beta/openai/gpt-4o-mini:generateContent", "openai/gpt-4o-mini"),
        ("/v1beta/models/anthropic/claude-sonnet:beta:generateContent", "models/anthropic/claude-sonnet:beta"),
    ],
)
def test_the_last_colon_divides_model_and_method(path: str, model: str) -> None:
    pattern = re.compile("/v1beta" + re.sub(r"\{(\w+):(.+)\}", r"(?P<\1>\2)", DIALECT.paths[0].path))

    found = pattern.fullmatch(path)

    assert found is not None
    assert found["model"] == model


def test_routing_learns_what_the_request_needs() -> None:
    body = {
        "contents": contents(
            ("user", [{"inline_data": {"mime_type": "image/png", "data": PICTURE}}, {"text": "abcd" * 50}])
        ),
        "generation_config": {
            "max_output_tokens": 40.0,
            "candidate_count": "2",
            "response_mime_type": "application/json",
        },
        "tools": [{"function_declarations": [{"name": "a.b:c"}]}],
        "router_config": {
            "models": ["x/y"],
            "session_id": "s",
            "metadata": {"tags": "a,b"},
            "provider": {"order": ["z"]},
        },
    }
    head = make_call(body, operation="stream").head

    assert (head.max_tokens, head.n, head.stream) == (40, 2, True)
    assert head.modalities == {"image"}
    assert {"tools", "response_format", "max_tokens"} <= head.needs
    assert head.prompt_tokens > 850
    assert (head.models, head.session_id, head.tags) == (["x/y"], "s", ["a", "b"])
    assert head.preferences is not None
    assert list(head.renamed.values()) == ["a.b:c"]


def test_counting_takes_both_forms() -> None:
    plain = make_call(ASK, operation="count_tokens").head
    wrapped = make_call({"generateContentRequest": {"model": "models/x", **ASK}}, operation="count_tokens").head

    assert plain.prompt_tokens == wrapped.prompt_tokens > 0
    assert DIALECT.decode(wrapped).messages[0].text == "hello"


# --- the raw lane ----------------------------------------------------------------------------------------------------


def test_a_body_without_members_of_ours_goes_on_as_it_came() -> None:
    body = b' {"contents" : [{"parts":[{"text":"hi","from_tomorrow":1.50}]}],\n "future": {"a" : 1} }'

    assert patched(make_call(body)) == body


@pytest.mark.parametrize("name", ["routerConfig", "router_config"])
def test_our_own_member_is_taken_out(name: str) -> None:
    body = b'{"contents":[{"parts":[{"text":"hi" , "n":1.50}]}],"%b":{"session_id":"s"}}' % name.encode()

    assert patched(make_call(body)) == b'{"contents":[{"parts":[{"text":"hi" , "n":1.50}]}]}'


def test_a_model_in_the_body_is_the_upstreams() -> None:
    assert json.loads(patched(make_call({**ASK, "model": "models/google/flash"})))["model"] == (
        "models/gemini-3-flash-preview"
    )


def test_foreign_thinking_in_the_history_leaves_the_raw_lane() -> None:
    signature = marks.pack([Reasoning(text="hm", signature="s", format="anthropic-claude-v1")], [])
    part = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signature}
    body = {"contents": contents(("user", [{"text": "a"}]), ("model", [part]))}

    call = make_call(body)

    assert call.head.hub_only
    assert not make_call(ASK).head.hub_only
    sent = json.dumps(through_the_hub(body))
    assert signature not in sent
    assert "skip_thought_signature_validator" in sent


# --- the hub ---------------------------------------------------------------------------------------------------------


def test_snake_and_camel_case_mean_the_same() -> None:
    camel = {
        "contents": contents(
            ("user", [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}]),
            ("model", [{"functionCall": {"name": "f", "args": {"mime_type": 1}}, "thoughtSignature": SIGNATURE}]),
            ("user", [{"functionResponse": {"name": "f", "response": {"file_uri": [1.50]}}}]),
        ),
        "systemInstruction": {"parts": {"text": "Be brief."}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"properties": {"top_k": {}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"topK": 3, "thinkingConfig": {"thinkingBudget": 7, "includeThoughts": True}},
        "safetySettings": [{"category": "x"}],
    }

    assert DIALECT.decode(make_call(_snake(camel)).head) == DIALECT.decode(make_call(camel).head)


def _snake(value: Any, names: fields.Names | None = fields.REQUEST.names) -> Any:
    """The same body with all names in snake case that are Google's."""
    if isinstance(value, list):
        return [_snake(each, names) for each in value]
    if not isinstance(value, dict) or names is None:
        return value
    return {
        fields.snake(name) if name in names else name: _snake(each, names.get(name)) for name, each in value.items()
    }


def test_parts_become_the_hubs() -> None:
    parts = [
        {"text": "look"},
        {"inlineData": {"mimeType": "image/webp", "data": "_-8"}},
        {"inlineData": {"mimeType": "application/pdf", "data": PICTURE, "displayName": "a.pdf"}},
        {"fileData": {"fileUri": "https://x.example/a.mp4", "mimeType": "video/mp4"}, "videoMetadata": {"fps": 2}},
        {"fileData": {"fileUri": "gs://bucket/a", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://x.example/cat.jpg"}},
        {"fromTomorrow": {}},
    ]
    found = decoded(contents=contents(("user", parts))).messages[0].content

    assert found[0] == Text(text="look")
    assert found[1] == Image(data="/+8=", media_type="image/webp")
    assert isinstance(found[2], File)
    assert found[2].filename == "a.pdf"
    assert isinstance(found[3], Video)
    assert found[3].extra.keys() == {"videoMetadata"}
    assert found[4] == File(file_id="gs://bucket/a", media_type="image/png")
    assert found[5] == Image(url="https://x.example/cat.jpg", media_type="image/jpeg")
    assert isinstance(found[6], Opaque)


def test_answers_find_their_calls() -> None:
    """By id, by name in order, and by order alone; ids are made up where there are none."""
    calls = [
        {"functionCall": {"name": name, "args": {"n": n}} | id}
        for n, (name, id) in enumerate([("a", {}), ("b", {}), ("a", {}), ("c", {"id": "own"})])
    ]
    answers: list[Body] = [
        {"functionResponse": {"name": "c", "id": "own", "response": {"output": "C"}}},
        {"functionResponse": {"name": "a", "response": {"output": "A1"}}},
        {"functionResponse": {"name": "a", "response": {"result": "A2"}}},
        {"functionResponse": {"name": "b", "response": {"error": "B"}}},
        {"text": "there you are"},
    ]
    messages = decoded(contents=contents(("user", [{"text": "go"}]), ("model", calls), ("user", answers))).messages

    ids = {part.arguments: part.id for part in messages[1].content if isinstance(part, ToolCall)}
    results = [message.content[0] for message in messages if message.role == "tool"]
    assert [result.tool_call_id for result in results if isinstance(result, ToolResult)] == [
        "own", ids['{"n": 0}'], ids['{"n": 2}'], ids['{"n": 1}'],
    ]  # fmt: skip
    assert len(set(ids.values())) == 4
    said = [result.content[0] for result in results if isinstance(result, ToolResult)]
    assert said == [Text(text="C"), Text(text="A1"), Text(text='{"result": "A2"}'), Text(text="B")]
    assert [result.is_error for result in results if isinstance(result, ToolResult)] == [False, False, False, True]
    assert messages[-1].role == "user"
    assert messages[-1].text == "there you are"


def test_ids_of_calls_are_the_same_when_the_conversation_goes_on() -> None:
    """Caches of upstreams depend on it."""
    turns = [("user", [{"text": "go"}]), ("model", [{"functionCall": {"name": "a"}}])]
    answered = [*turns, ("user", [{"functionResponse": {"name": "a", "response": {}}}])]

    first, second = decoded(contents=contents(*turns)).messages, decoded(contents=contents(*answered)).messages

    assert second[: len(first)] == first


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({}, None),
        ({"includeThoughts": False}, None),
        ({"includeThoughts": True}, ReasoningConfig(enabled=True)),
        ({"thinkingBudget": 0}, ReasoningConfig(max_tokens=0, exclude=True)),
        ({"thinkingBudget": -1}, ReasoningConfig(enabled=True, exclude=True)),
        ({"thinkingBudget": "1024", "includeThoughts": True}, ReasoningConfig(max_tokens=1024)),
        ({"thinkingLevel": "high", "includeThoughts": True}, ReasoningConfig(effort="high")),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
    ],
)
def test_how_much_to_think(thinking: Body, expected: ReasoningConfig | None) -> None:
    assert decoded(generationConfig={"thinkingConfig": thinking}).reasoning == expected


def test_googles_kind_of_schema_becomes_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "STRING", "nullable": True, "format": "enum", "enum": ["x", "y"]},
            "a": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "minItems": "1"},
            "type": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        },
        "propertyOrdering": ["a", "b"],
        "required": ["a"],
    }
    declared = [{"name": "f", "parameters": schema}]

    tool = decoded(tools=[{"functionDeclarations": declared}]).tools[0]

    assert tool.parameters is not None
    found = json.loads(bytes(tool.parameters))
    assert found == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
            "b": {"type": ["string", "null"], "enum": ["x", "y", None]},
            "type": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["a"],
    }
    assert list(found["properties"]) == ["a", "b", "type"]


# --- through the hub and back ----------------------------------------------------------------------------------------

EVERYTHING: Body = {
    "contents": contents(
        (
            "user",
            [
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": PICTURE}, "mediaResolution": {"level": "LOW"}},
                {"inlineData": {"mimeType": "audio/ogg", "data": PICTURE}},
                {"inlineData": {"mimeType": "application/pdf", "data": PICTURE, "displayName": "a.pdf"}},
                {
                    "fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"},
                    "videoMetadata": {"startOffset": "1s", "fps": 2},
                },
                {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}},
                {"fromTomorrow": {"b": 1}},
            ],
        ),
        (
            "model",
            [
                {"text": "Hm.", "thought": True, "thoughtSignature": SIGNATURE},
                {"text": "I look.", "thoughtSignature": SIGNATURE},
                {"text": "", "thoughtSignature": SIGNATURE},
                {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": SIGNATURE},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                {
                    "functionCall": {"id": "c1", "name": "f", "args": {"n": 1.5, "s": "é"}},
                    "thoughtSignature": SIGNATURE,
                },
                {"functionCall": {"id": "c2", "name": "g", "args": {}, "willContinue": False}},
            ],
        ),
        (
            "user",
            [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "sun"}}},
                {
                    "functionResponse": {
                        "id": "c2",
                        "name": "g",
                        "response": {"result": {"deep": [1, None]}},
                        "scheduling": "SILENT",
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}],
                    }
                },
                {"text": "and?", "partMetadata": {"a": 1}},
            ],
        ),
    ),
    "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
    "tools": [
        {
            "functionDeclarations": [
                {"name": "f", "description": "…", "parametersJsonSchema": {"type": "object", "properties": {"n": {}}}},
                {
                    "name": "g",
                    "parametersJsonSchema": {"type": "object"},
                    "behavior": "NON_BLOCKING",
                    "response": {"type": "STRING"},
                },
            ]
        },
        {"googleSearch": {}},
        {"codeExecution": {}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        "retrievalConfig": {"languageCode": "no"},
    },
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 7,
        "candidateCount": 2,
        "maxOutputTokens": 99,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}},
        "seed": 5,
        "presencePenalty": 0.5,
        "frequencyPenalty": -0.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
        "responseModalities": ["TEXT"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "speechConfig": {"languageCode": "no"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "cachedContent": "cachedContents/x",
    "labels": {"a": "b"},
    "serviceTier": "flex",
}


def test_a_request_with_everything_survives_the_hub() -> None:
    assert through_the_hub(EVERYTHING) == EVERYTHING


@settings(max_examples=60)
@given(st.sets(st.sampled_from(sorted(EVERYTHING["generationConfig"]))), st.sets(st.sampled_from(sorted(EVERYTHING))))
def test_any_choice_of_members_survives_the_hub(config: set[str], members: set[str]) -> None:
    asked = {name: EVERYTHING[name] for name in sorted(members | {"contents"})}
    # names of functions may be forced only where there are functions, and schemas only in JSON
    if "tools" not in asked:
        asked.pop("toolConfig", None)
    if "generationConfig" in asked:
        chosen = {name: value for name, value in EVERYTHING["generationConfig"].items() if name in config}
        if "responseMimeType" not in chosen:
            chosen.pop("responseJsonSchema", None)
        if "responseLogprobs" not in chosen:
            chosen.pop("logprobs", None)
        asked["generationConfig"] = chosen
        if not chosen:
            del asked["generationConfig"]

    assert through_the_hub(asked) == asked
