"""The `google-genai` SDK, unmodified, over sockets, with models of every family of providers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from router.testing import FakeUpstream, json_answer, sse_answer
from tests.serving import Served, within

from .families import CACHED, INPUT, OUTPUT, SIGNATURE, THOUGHT, Answer, Family, ToolCall

WORDS = Answer(words=("Hei", ", Ås", "! 🌍"))
#: an answer that no machine is slow enough to hear to its end
LONG = Answer(words=("word ",) * 100)
HELLO = "Hello, Ås! 🌍"
CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
TOOLS = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="get_weather", description="…", parameters=types.Schema.model_validate(CITY)),
        types.FunctionDeclaration(name="now", parameters_json_schema={"type": "object", "properties": {}}),
    ]
)
CALLS = (
    ToolCall("call_01oslo", "get_weather", {"city": "Oslo"}),
    ToolCall("call_02aas", "get_weather", {"city": "Ås 🌧"}),
    ToolCall("call_03now", "now", {}),
)
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PLAN: dict[str, Any] = {
    "type": "object",
    "properties": {"steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["steps"],
}
#: the SDK runs functions by itself unless told otherwise
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture
def client(served: Served) -> Iterator[genai.Client]:
    """The SDK as it comes."""
    with sdk(served) as client:
        yield client


def sdk(served: Served, *, key: str = "", version: str | None = None, base: str = "") -> genai.Client:
    options = types.HttpOptions(base_url=served.url + base, api_version=version, timeout=10_000)
    return genai.Client(api_key=key or served.key, http_options=options)


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "base"), [(None, ""), ("v1beta", ""), ("v1", "/api")])
def test_plain(served: Served, family: Family, upstream: FakeUpstream, version: str | None, base: str) -> None:
    upstream.will(family.plain(WORDS))

    with sdk(served, version=version, base=base) as client:
        answer = client.models.generate_content(
            model=family.model, contents=HELLO, config={"system_instruction": "Be brief.", "temperature": 0.5}
        )

    assert answer.text == WORDS.text
    assert finish_of(answer) == "STOP"
    assert_usage(family, answer.usage_metadata)
    assert answer.response_id
    (asked,) = upstream.asked
    sent = family.sent(asked)
    assert (sent.model, sent.key) == (family.upstream_model, family.key)
    assert HELLO in sent.texts
    assert "Be brief." in json.dumps(asked.body)
    assert served.key not in f"{asked.headers}{asked.path}{asked.body}"


def test_stream(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(WORDS))

    chunks = list(client.models.generate_content_stream(model=family.model, contents=HELLO))

    assert [chunk.text for chunk in chunks if chunk.text] == list(WORDS.words)
    assert finish_of(chunks[-1]) == "STOP"
    assert_usage(family, chunks[-1].usage_metadata)


def test_words_arrive_when_the_upstream_says_them(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    """The upstream says the next word only when the client has got the one before."""
    got = threading.Semaphore(0)
    upstream.will(family.in_step(WORDS, got))

    words = []
    for chunk in client.models.generate_content_stream(model=family.model, contents=HELLO):
        if chunk.text:
            words.append(chunk.text)
            got.release()

    assert words == list(WORDS.words)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_chat_remembers(client: genai.Client, family: Family, upstream: FakeUpstream, streaming: bool) -> None:
    upstream.will(family.streamed(WORDS) if streaming else family.plain(WORDS), family.plain(WORDS))
    chat = client.chats.create(model=family.model)

    if streaming:
        assert "".join(chunk.text or "" for chunk in chat.send_message_stream(HELLO)) == WORDS.text
    else:
        assert chat.send_message(HELLO).text == WORDS.text
    chat.send_message("And now?")

    assert WORDS.text in "".join(family.sent(upstream.asked[1]).texts)


def test_the_shorter_path_of_other_sdks(served: Served, family: Family, upstream: FakeUpstream) -> None:
    """Some leave `models/` out of the path, some escape the slash."""
    upstream.will(family.plain(WORDS))
    with sdk(served, version="v1beta/models") as client:  # which makes it models/models/…
        assert client.models.generate_content(model=family.model, contents=HELLO).text == WORDS.text


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_tools_both_ways(client: genai.Client, family: Family, upstream: FakeUpstream, streaming: bool) -> None:
    answer = Answer(thought="Hm. ", words=("Let me look.",), calls=CALLS)
    upstream.will(family.streamed(answer) if streaming else family.plain(answer))
    only_now = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["now"]}}
    config: Any = {"tools": [TOOLS], "tool_config": only_now, "automatic_function_calling": BY_HAND}

    parts = said(client, streaming, model=family.model, contents=HELLO, config=config)

    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.name, call.args) for call in calls] == [(call.name, call.arguments) for call in CALLS]
    sent = family.sent(upstream.asked[0])
    assert (sent.tools, sent.forced) == (["get_weather", "now"], "now")

    upstream.will(family.plain(WORDS))
    results = [
        types.Part(
            function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": f"said {number}"})
        )
        for number, call in enumerate(calls)
    ]
    history: Any = [
        types.Content(role="user", parts=[types.Part(text=HELLO)]),
        types.Content(role="model", parts=parts),
        types.Content(role="user", parts=results),
    ]
    client.models.generate_content(model=family.model, contents=history, config=config)

    sent = family.sent(upstream.asked[1])
    ids = [call.id or "" for call in calls]
    assert sent.results == [(id, f"said {number}") for number, id in enumerate(ids)]
    if family.keeps_ids:
        assert ids == [call.id for call in CALLS]
    if family.slug in ("gemini", "anthropic"):
        assert SIGNATURE in json.dumps(upstream.asked[1].body)


def test_the_sdk_runs_functions_by_itself(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    def get_weather(city: str) -> str:
        """What the sky does."""
        return f"rain over {city}"

    upstream.will(family.plain(Answer(calls=CALLS[:1])), family.plain(WORDS))

    answer = client.models.generate_content(model=family.model, contents=HELLO, config={"tools": [get_weather]})

    assert answer.text == WORDS.text
    assert "rain over Oslo" in json.dumps(upstream.asked[1].body)


def test_thinking_of_another_family_comes_back_without_its_thoughts(
    client: genai.Client, family: Family, upstream: FakeUpstream
) -> None:
    """As Gemini CLI keeps its history: without parts that are thoughts."""
    answer = Answer(thought="Hm. ", calls=CALLS[:1])
    upstream.will(family.streamed(answer), family.plain(WORDS))
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    config: Any = {"tools": [TOOLS], "thinking_config": thinking, "automatic_function_calling": BY_HAND}

    parts = said(client, True, model=family.model, contents=HELLO, config=config)
    kept = [part for part in parts if not part.thought]
    call = next(part.function_call for part in kept if part.function_call)
    response = types.FunctionResponse(id=call.id, name=call.name, response={"output": "rain"})
    history: Any = [
        types.Content(role="user", parts=[types.Part(text=HELLO)]),
        types.Content(role="model", parts=kept),
        types.Content(role="user", parts=[types.Part(function_response=response)]),
    ]
    client.models.generate_content(model=family.model, contents=history, config=config)

    if family.shows_thought:
        assert "".join(part.text or "" for part in parts if part.thought) == "Hm. "
    sent = upstream.asked[1].body
    match family.slug:
        case "anthropic":
            turn = next(message for message in sent["messages"] if message["role"] == "assistant")
            assert turn["content"][0] == {"type": "thinking", "thinking": "Hm. ", "signature": SIGNATURE}
        case "gemini":
            assert SIGNATURE in json.dumps(sent)


# --- what else a request may hold ------------------------------------------------------------------------------------


def test_images(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))
    picture = types.Part.from_bytes(data=PICTURE, mime_type="image/png")

    client.models.generate_content(model=family.model, contents=["What is this?", picture])

    if family.slug == "gemini":  # as the SDK writes it: some names in snake case, and base64 for URLs
        blob = next(
            part["inlineData"] for part in upstream.asked[0].body["contents"][0]["parts"] if "inlineData" in part
        )
        assert blob == {"mime_type": "image/png", "data": base64.urlsafe_b64encode(PICTURE).decode()}
    else:
        (image,) = family.sent(upstream.asked[0]).images
        assert image == f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"


@pytest.mark.parametrize("member", ["response_json_schema", "response_schema"])
def test_an_answer_in_a_form(client: genai.Client, family: Family, upstream: FakeUpstream, member: str) -> None:
    upstream.will(family.plain(Answer(words=('{"steps": ["look"]}',))))
    config: Any = {"response_mime_type": "application/json", member: PLAN}

    answer = client.models.generate_content(model=family.model, contents=HELLO, config=config)

    assert json.loads(answer.text or "") == {"steps": ["look"]}
    sent = upstream.asked[0].body
    if family.slug == "gemini":
        schema = sent["generationConfig"].get("responseJsonSchema") or sent["generationConfig"]["responseSchema"]
        assert schema["properties"]["steps"]["items"]["type"].lower() == "string"
    else:
        schema = family.sent(upstream.asked[0]).schema
        assert {name: schema[name] for name in PLAN} == PLAN


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("shown", [False, True])
def test_thinking(client: genai.Client, family: Family, upstream: FakeUpstream, streaming: bool, shown: bool) -> None:
    answer = Answer(thought="Let me see. ", words=WORDS.words)
    upstream.will(family.streamed(answer) if streaming else family.plain(answer))
    thinking = types.ThinkingConfig(include_thoughts=shown, thinking_level=types.ThinkingLevel.LOW)

    parts = said(client, streaming, model=family.model, contents=HELLO, config={"thinking_config": thinking})

    thoughts = "".join(part.text or "" for part in parts if part.thought)
    # Google itself leaves the thoughts out where they were not asked for
    if family.slug != "gemini":
        assert thoughts == (answer.thought if shown and family.shows_thought else "")
    assert "".join(part.text or "" for part in parts if not part.thought) == WORDS.text
    if family.slug == "gemini":
        assert upstream.asked[0].body["generationConfig"]["thinkingConfig"]["thinking_level"] == "LOW"
    elif family.slug != "local":
        assert family.sent(upstream.asked[0]).thinks


def test_sampling(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(WORDS))
    config: Any = {"max_output_tokens": 99, "stop_sequences": ["END"], "top_k": 7, "seed": 5}

    client.models.generate_content(model=family.model, contents=HELLO, config=config)

    sent = json.dumps(upstream.asked[0].body)
    assert "99" in sent
    assert "END" in sent or family.slug == "openai"


# --- counting and models ---------------------------------------------------------------------------------------------


def test_tokens_are_counted(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    native = {"anthropic": {"input_tokens": 77}, "gemini": {"totalTokens": 77}}.get(family.slug)
    upstream.will(json_answer(native or {}))

    counted = client.models.count_tokens(model=family.model, contents=HELLO).total_tokens or 0

    assert (counted == 77) is (native is not None)
    assert counted > 3
    assert len(upstream.asked) == (native is not None)


def test_models_are_listed_in_pages(served: Served, client: genai.Client) -> None:
    whole = [model.name for model in client.models.list(config={"page_size": 1000})]
    pages = [model.name for model in client.models.list(config={"page_size": 7})]

    assert pages == whole
    assert len(set(whole)) == len(whole) > 20
    assert "models/gemini/gemini-2.5-flash" in whole


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_one_model(served: Served, version: str) -> None:
    with sdk(served, version=version) as client:
        model = client.models.get(model="models/gemini/gemini-2.5-flash")

    assert model.name == "models/gemini/gemini-2.5-flash"
    assert (model.input_token_limit or 0) > 100_000
    assert "generateContent" in (model.supported_actions or ())


# --- vectors ---------------------------------------------------------------------------------------------------------

VECTOR = [0.5, -0.25, 1.0]
#: the body of an answer with two vectors, by model
VECTORS: dict[str, Any] = {
    "gemini/gemini-embedding-001": {"embeddings": [{"values": VECTOR}] * 2},
    "openai/text-embedding-3-small": {
        "data": [{"index": index, "embedding": VECTOR} for index in range(2)],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    },
    "local/some-embedding": {
        "data": [{"index": index, "embedding": VECTOR} for index in range(2)],
    },  # it counts nothing
}


@pytest.mark.parametrize("model", VECTORS)
@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_vectors(served: Served, upstream: FakeUpstream, model: str, version: str) -> None:
    upstream.will(json_answer(VECTORS[model]))

    with sdk(served, version=version) as client:
        answer = client.models.embed_content(
            model=model,
            contents=["Hei", "Ås"],
            config={"task_type": "RETRIEVAL_QUERY", "output_dimensionality": 3, "title": "Words"},
        )

    assert [each.values for each in answer.embeddings or ()] == [VECTOR, VECTOR]
    (asked,) = upstream.asked
    if model.startswith("gemini"):
        assert asked.path.endswith("/v1beta/models/gemini-embedding-001:batchEmbedContents")
        assert asked.body["requests"][1]["model"] == "models/gemini-embedding-001"
        assert asked.body["requests"][1]["taskType"] == "RETRIEVAL_QUERY"
        assert asked.body["requests"][1]["title"] == "Words"
    else:
        assert (asked.body["input"], asked.body["dimensions"]) == (["Hei", "Ås"], 3)
        assert asked.body["model"] == model.partition("/")[2]


def test_vectors_of_echo(client: genai.Client) -> None:
    answer = client.models.embed_content(model="echo/echo", contents="Hello", config={"output_dimensionality": 8})

    [vector] = answer.embeddings or []
    assert len(vector.values or ()) == 8


def test_a_chat_model_gives_no_vectors(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.embed_content(model="anthropic/claude-sonnet-4-5", contents="Hello")

    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_models_that_give_vectors_are_listed(client: genai.Client) -> None:
    listed = {model.name: model.supported_actions or [] for model in client.models.list(config={"page_size": 1000})}

    assert listed["models/openai/text-embedding-3-small"] == ["embedContent"]
    assert listed["models/gemini/gemini-2.5-flash"] == ["generateContent", "countTokens"]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "word"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED")])
def test_upstreams_errors(client: genai.Client, family: Family, upstream: FakeUpstream, status: int, word: str) -> None:
    upstream.will(family.fails(status, "not like this", headers={"retry-after": "30"}))

    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=family.model, contents=HELLO)

    assert (caught.value.code, caught.value.status) == (status, word)
    assert "not like this" in (caught.value.message or "")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "word"),
    [("no/such-model", 404, "NOT_FOUND"), ("echo/error-503", 503, "UNAVAILABLE")],
)
def test_our_own_errors(client: genai.Client, streaming: bool, model: str, status: int, word: str) -> None:
    with pytest.raises(errors.APIError) as caught:
        said(client, streaming, model=model, contents=HELLO)

    assert (caught.value.code, caught.value.status) == (status, word)


def test_a_wrong_key(served: Served) -> None:
    with sdk(served, key="sk-rt-v1-wrong") as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="echo/echo", contents=HELLO)

    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_what_the_contract_refuses(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="echo/echo", contents=HELLO, config={"temperature": 3})

    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert "generationConfig.temperature" in (caught.value.message or "")


def test_a_stream_that_breaks_off(client: genai.Client, family: Family, upstream: FakeUpstream) -> None:
    frames = family.frames(WORDS)
    upstream.will(sse_answer([*frames[:-2], family.failing("sorry, no more")], pause_s=0.01))
    words = ""

    with pytest.raises(errors.APIError) as caught:
        for chunk in client.models.generate_content_stream(model=family.model, contents=HELLO):
            words += chunk.text or ""

    assert words
    assert WORDS.text.startswith(words)
    assert caught.value.code >= 429
    assert "sorry, no more" in (caught.value.message or "")


async def test_a_client_that_leaves_ends_the_upstreams_stream(
    served: Served, family: Family, upstream: FakeUpstream
) -> None:
    upstream.will(family.streamed(LONG, pause_s=0.2))

    with sdk(served) as client:
        stream = await client.aio.models.generate_content_stream(model=family.model, contents=HELLO)
        async for _ in stream:
            break
        await stream.aclose()
        await client.aio.aclose()

    assert await asyncio.to_thread(within, 5.0, lambda: upstream.left == 1)


# --- helpers ---------------------------------------------------------------------------------------------------------


def said(client: genai.Client, streaming: bool, **ask: Any) -> list[types.Part]:
    """The parts of the answer."""
    models = client.models
    answers = list(models.generate_content_stream(**ask)) if streaming else [models.generate_content(**ask)]
    parts: list[types.Part] = []
    for answer in answers:
        for candidate in answer.candidates or ():
            parts += (candidate.content and candidate.content.parts) or []
    return parts


def finish_of(answer: types.GenerateContentResponse) -> str:
    reason = (answer.candidates or [types.Candidate()])[0].finish_reason
    return reason.name if reason is not None else ""


def assert_usage(family: Family, usage: types.GenerateContentResponseUsageMetadata | None) -> None:
    assert usage is not None
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (INPUT, CACHED)
    assert usage.total_token_count == INPUT + OUTPUT
    thoughts = usage.thoughts_token_count or 0
    assert (usage.candidates_token_count or 0) + thoughts == OUTPUT
    assert thoughts == (0 if family.slug == "anthropic" else THOUGHT)
