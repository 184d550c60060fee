"""Events and replies of the hub as Gemini's answers, and thinking of all families there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from router.dialects.gemini_generate import marks
from router.errors import StreamTruncated
from router.events import Choice, Event, Finish, Fold, RefusalDelta, Reply, Start, Stop, TextDelta, ToolDelta
from router.model import AnyPart, Audio, Citation, Image, Opaque, Reasoning, Refusal, Text, ToolCall
from router.prices import Usage

from .gemini_making import ASK, DIALECT, PROVIDER, Body, answers_of, decoded, make_call, parts_of
from .lanes import encoded, settled

EVENTS = {"query": "alt=sse", "operation": "stream"}
SHOWN = {**ASK, "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
CLAUDE = "anthropic-claude-v1"
GOOGLE = "google-gemini-v1"
USED = Usage(input=10, output=6, reasoning=2, cache_read=3)


def reply(*content: AnyPart, finish: Finish | None = None, **members: Any) -> Reply:
    return Reply(choices=[Choice(content=list(content), finish=finish or Finish(), **members)], usage=USED)


def plain(given: Reply, asked: Body = SHOWN) -> Body:
    call = make_call(asked)
    call.outcome.usage = given.usage
    told: Body = json.loads(DIALECT.reply(settled(call), given))
    return told


def streamed(given: Reply, asked: Body = SHOWN) -> list[Body]:
    return answers_of(encoded(make_call(asked, **EVENTS), given.events()))


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_says_who_and_how_much(stream: bool) -> None:
    given = reply(Text(text="hi"))

    told = streamed(given)[-1] if stream else plain(given)

    assert told["usageMetadata"] == {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "totalTokenCount": 16,
        "thoughtsTokenCount": 2,
        "cachedContentTokenCount": 3,
    }
    assert told["modelVersion"] == "google/flash"
    assert told["responseId"].startswith("gen-")


@pytest.mark.parametrize(
    ("reason", "native", "told"),
    [
        ("stop", "end_turn", "STOP"),
        ("length", "max_tokens", "MAX_TOKENS"),
        ("content_filter", "refusal", "SAFETY"),
        ("content_filter", "RECITATION", "RECITATION"),
        ("error", None, "OTHER"),
        ("error", "MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
        ("tool_calls", "tool_use", "STOP"),
    ],
)
def test_finish_reasons(reason: Any, native: str | None, told: str) -> None:
    given = reply(Text(text="a"), finish=Finish(reason=reason, native=native))

    assert plain(given)["candidates"][0]["finishReason"] == told
    assert streamed(given)[-1]["candidates"][0]["finishReason"] == told


def test_calls_come_whole_with_the_end() -> None:
    events: list[Event] = [
        Start(),
        TextDelta(text="Let me see."),
        ToolDelta(index=0, id="c1", name="f"),
        ToolDelta(index=1, id="c2", name="g"),
        ToolDelta(index=0, arguments='{"a":\n'),
        ToolDelta(index=1, arguments=""),
        ToolDelta(index=0, arguments='"é"}'),
        Stop(finishes=[Finish(reason="stop", native="stop")]),
    ]
    call = make_call(**EVENTS)

    first, last = answers_of(encoded(call, events))

    assert parts_of([first]) == [{"text": "Let me see."}]
    assert parts_of([last]) == [
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": "é"}}},
        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
    ]
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert call.outcome.finish_reason == "tool_calls"


@pytest.mark.parametrize("text", ["[1]", "not json", '"a"', '{"cut": '])
def test_arguments_that_are_no_object(text: str) -> None:
    (part,) = parts_of([plain(reply(ToolCall(id="c", name="f", arguments=text)))])

    assert part["functionCall"]["args"] == {"_raw": text}


def test_names_of_functions_come_back_as_the_client_gave_them() -> None:
    asked = {**ASK, "tools": [{"functionDeclarations": [{"name": "mcp.server:read"}]}]}
    sent = decoded(tools=asked["tools"]).tools[0].name

    told = parts_of([plain(reply(ToolCall(id="c", name=sent)), asked)])

    assert sent.replace("_", "").isalnum()
    assert told[0]["functionCall"]["name"] == "mcp.server:read"


def test_an_array_grows_element_by_element() -> None:
    call = make_call(operation="stream")
    flow = DIALECT.encoder(call)

    pieces = [flow.feed(event) for event in reply(Text(text="a"), Refusal(text="b")).events()]
    flow.end()
    settled(call)

    said = [piece for piece in pieces if piece]
    assert json.loads(said[0] + b"]")[0]["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert [part["text"] for part in parts_of(json.loads(b"".join([*said, flow.final()])))] == ["a", "b", ""]


def test_a_stream_without_an_end() -> None:
    flow = DIALECT.encoder(make_call(**EVENTS))
    flow.feed(TextDelta(text="a"))

    with pytest.raises(StreamTruncated):
        flow.end()


def test_parts_that_come_whole() -> None:
    given = reply(
        Text(text="see"),
        Image(data="AAAA", media_type="image/png"),
        Audio(data="BBBB", format="mp3"),
        Opaque(family="gemini", raw=Raw(b'{"fromTomorrow":\n1}')),
        Opaque(family="openai", raw=Raw(b"{}")),
    )
    expected = [
        {"text": "see"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "BBBB"}},
        {"fromTomorrow": 1},
    ]

    assert parts_of([plain(given)]) == expected
    assert parts_of(streamed(given))[:-1] == expected


def test_citations_are_grounding_in_bytes() -> None:
    citations = [
        Citation(url="https://a.example", title="A", start_index=3, end_index=5),
        Citation(url="https://b.example"),
    ]

    told = plain(reply(Text(text="Ås 🌍!"), citations=citations))["candidates"][0]["groundingMetadata"]

    assert told == {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"web": {"uri": "https://b.example", "title": ""}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 4, "endIndex": 9, "text": "🌍!"}, "groundingChunkIndices": [0]}
        ],
    }


def test_several_choices() -> None:
    given = Reply(choices=[Choice(index=n, content=[Text(text=str(n))]) for n in range(2)], usage=USED)

    assert [part["text"] for n in range(2) for part in parts_of([plain(given)], n)] == ["0", "1"]
    assert [part["text"] for n in range(2) for part in parts_of(streamed(given), n)] == ["0", "", "1", ""]


# --- thinking --------------------------------------------------------------------------------------------------------


def test_thoughts_are_shown_to_who_asks() -> None:
    given = reply(Reasoning(text="hm", format="unknown"), Text(text="a"))

    assert parts_of([plain(given)])[0] == {"text": "hm", "thought": True}
    assert parts_of(streamed(given))[0] == {"text": "hm", "thought": True}
    assert not any("thought" in part for part in parts_of([plain(given, ASK)]) + parts_of(streamed(given, ASK)))


THINKING: dict[str, list[AnyPart]] = {
    "claude": [
        Reasoning(text="hm", signature="s1", format=CLAUDE),
        Reasoning(kind="encrypted", data="r1", format=CLAUDE),
        Text(text="I look."),
        ToolCall(id="c1", name="f", arguments='{"a": 1}'),
        ToolCall(id="c2", name="g", arguments="{}"),
    ],
    "claude, thinking again": [
        Reasoning(text="hm", signature="s1", format=CLAUDE),
        Text(text="I look."),
        Reasoning(text="so", signature="s2", format=CLAUDE),
        ToolCall(id="c1", name="f", arguments="{}"),
    ],
    "claude, without calls": [Reasoning(text="hm", signature="s1", format=CLAUDE), Text(text="yes")],
    "responses": [
        Reasoning(kind="summary", text="hm", format="openai-responses-v1", id="rs_1"),
        Reasoning(kind="encrypted", data="e", format="openai-responses-v1", id="rs_1"),
        ToolCall(id="c1", name="f", arguments="{}"),
    ],
    "unsigned": [Reasoning(text="hm"), ToolCall(id="c1", name="f", arguments="{}")],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keeps", ["all", "no thoughts"])
@pytest.mark.parametrize("name", THINKING)
def test_thinking_of_other_families_comes_back(name: str, keeps: str, stream: bool) -> None:
    """In order, whether the client keeps thoughts in its history (the SDKs) or takes them out (Gemini CLI)."""
    given = reply(*THINKING[name])
    parts = parts_of(streamed(given) if stream else [plain(given)])
    kept = [part for part in parts if keeps == "all" or not part.get("thought")]

    turns = [*ASK["contents"], {"role": "model", "parts": kept}]
    found = decoded(contents=turns).messages[1].content

    if name == "claude, without calls" or stream:
        found = [part for part in found if part != Text(text="")]
    assert found == THINKING[name]


@pytest.mark.parametrize("stream", [False, True])
def test_googles_own_signatures_go_back_to_their_parts(stream: bool) -> None:
    body = {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "I look."},
                        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
                        {"functionCall": {"id": "c2", "name": "g", "args": {"a": 1}}},
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    }
    given = PROVIDER.decode(json.dumps(body).encode())

    parts = parts_of(streamed(given) if stream else [plain(given)])

    assert parts == body["candidates"][0]["content"]["parts"]


@given(
    st.lists(
        st.builds(Reasoning, text=st.text(), signature=st.none() | st.text(), format=st.sampled_from([CLAUDE, "x"]))
    ),
    st.lists(st.builds(Reasoning, kind=st.just("encrypted"), data=st.text(), id=st.none() | st.text())),
    st.booleans(),
)
def test_marks_survive_both_alphabets(before: list[Reasoning], after: list[Reasoning], for_urls: bool) -> None:
    signature = marks.pack(before, after)
    if for_urls:
        signature = signature.replace("+", "-").replace("/", "_").rstrip("=")

    assert marks.unpack(signature) == (before, after)
    assert signature.startswith(marks.MARK)


def test_a_mark_that_was_cut_short_holds_nothing() -> None:
    assert marks.unpack(marks.pack([Reasoning(text="a" * 50)], [])[:30]) == ([], [])
    assert marks.unpack("c2lnbmF0dXJl") is None


# --- laws ------------------------------------------------------------------------------------------------------------

TEXTS = st.text(min_size=1, max_size=8)
EVENT = st.one_of(
    st.builds(TextDelta, text=st.text(max_size=8), choice=st.integers(0, 1)),
    st.builds(RefusalDelta, text=TEXTS),
    st.builds(ToolDelta, index=st.integers(0, 2), id=TEXTS, name=TEXTS, arguments=st.sampled_from(["", '{"a":1}'])),
)


@given(st.lists(EVENT, max_size=12))
def test_a_stream_says_what_its_fold_says(events: list[Event]) -> None:
    """Texts, calls and reasons are the same, streamed or whole."""
    stop = Stop(finishes=[Finish(choice=0, reason="stop"), Finish(choice=1, reason="length")], usage=USED)
    fold = Fold()
    for event in (*events, stop):
        fold.add(event)

    told, whole = answers_of(encoded(make_call(**EVENTS), (*events, stop))), plain(fold.reply)

    for index in (0, 1):
        ours, theirs = parts_of(told, index), parts_of([whole], index)
        assert "".join(part.get("text", "") for part in ours) == "".join(part.get("text", "") for part in theirs)
        assert [part for part in ours if "functionCall" in part] == [part for part in theirs if "functionCall" in part]
    assert [each["finishReason"] for each in told[-1]["candidates"]] == [
        each["finishReason"] for each in whole["candidates"]
    ]
    assert all("finishReason" not in candidate for each in told[:-1] for candidate in each["candidates"])
