"""What Gemini CLI sends, in the form of its public source (2026): the JS SDK's headers on /v1beta, a stream of events for every turn,
JSON by schema for its own decisions, counting; thoughts are not kept in its history, signatures of calls are. The texts are ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from router.testing import FakeUpstream, json_answer
from tests.serving import Served

from .families import SIGNATURE, Answer, Family, ToolCall

Body = dict[str, Any]

AGENT = "GeminiCLI/0.30.0/gemini-3-flash-preview (linux; x64)"
READ = {
    "name": "read_file",
    "description": "Reads a file.",
    "parametersJsonSchema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "limit": {"type": "number"}},
        "required": ["file_path"],
    },
}
SHELL = {
    "name": "run_shell_command",
    "description": "Runs a command.",
    "parametersJsonSchema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
SETUP = [
    {"role": "user", "parts": [{"text": "This is the workspace. Today is a day."}]},
    {"role": "model", "parts": [{"text": "Got it. Thanks for the context!"}]},
]
QUESTION = {"role": "user", "parts": [{"text": "What is in notes.txt?"}]}
CALL = ToolCall("call_01", "read_file", {"file_path": "notes.txt"})


def turn(*contents: Body) -> Body:
    """The body of a turn of the conversation."""
    return {
        "contents": [*SETUP, *contents],
        "systemInstruction": {"role": "user", "parts": [{"text": "You are a command line agent."}]},
        "tools": [{"functionDeclarations": [READ, SHELL]}],
        "generationConfig": {
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 8192},
        },
    }


@pytest.fixture
async def http(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    """With the headers of every request."""
    headers = {
        "x-goog-api-key": served.key,
        "x-goog-api-client": "google-genai-sdk/1.30.0 gl-node/v24.0.0",
        "User-Agent": AGENT,
        "x-gemini-api-privileged-user-id": "a",
    }
    async with aiohttp.ClientSession(served.url, headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        yield session


async def stream(http: aiohttp.ClientSession, model: str, body: Body) -> list[Body]:
    """A turn: the answers of its events."""
    async with http.post(f"/v1beta/models/{model}:streamGenerateContent?alt=sse", json=body) as answer:
        raw = await answer.read()
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), raw
    frames = raw.replace(b"\r\n", b"\n").removesuffix(b"\n\n").split(b"\n\n")
    assert all(frame.startswith(b"data: {") for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def parts_of(answers: list[Body]) -> list[Body]:
    return [part for each in answers for part in each["candidates"][0]["content"]["parts"]]


async def test_a_turn_with_a_tool(http: aiohttp.ClientSession, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.streamed(Answer(thought="Hm, a file. ", words=("I", " read", " it."), calls=(CALL,))))

    answers = await stream(http, family.model, turn(QUESTION))

    parts = parts_of(answers)
    assert "".join(part["text"] for part in parts if "text" in part and not part.get("thought")) == "I read it."
    call = next(part["functionCall"] for part in parts if "functionCall" in part)
    assert (call["name"], call["args"]) == (CALL.name, CALL.arguments)
    assert answers[-1]["candidates"][0]["finishReason"] == "STOP"
    assert answers[-1]["usageMetadata"]["totalTokenCount"] > 0
    asked = upstream.asked[0]
    assert family.sent(asked).tools == ["read_file", "run_shell_command"]
    assert not any(name.lower().startswith("x-go") and value != family.key for name, value in asked.headers.items())
    assert AGENT not in str(asked.headers)

    upstream.will(family.streamed(Answer(words=("Milk.",))))
    kept = [part for part in parts if not part.get("thought") and part.get("text") != ""]
    response = {"id": call.get("id", "read_file-1"), "name": "read_file", "response": {"output": "milk"}}
    history = [QUESTION, {"role": "model", "parts": kept}, {"role": "user", "parts": [{"functionResponse": response}]}]
    answers = await stream(http, family.model, turn(*history))

    assert "".join(part["text"] for part in parts_of(answers)) == "Milk."
    sent = upstream.asked[1]
    ((answered, said),) = family.sent(sent).results
    assert said == "milk"
    assert answered == (CALL.id if family.keeps_ids else "read_file-1")
    if family.slug in ("anthropic", "gemini"):
        assert SIGNATURE in json.dumps(sent.body)


async def test_a_decision_in_json(http: aiohttp.ClientSession, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(family.plain(Answer(words=('{"next_speaker": "user"}',))))
    schema = {"type": "object", "properties": {"next_speaker": {"type": "string", "enum": ["user", "model"]}}}
    body = turn(QUESTION)
    del body["tools"]
    body["generationConfig"] = {
        "temperature": 0,
        "topP": 1,
        "responseJsonSchema": schema,
        "responseMimeType": "application/json",
        "thinkingConfig": {"thinkingBudget": 0},
    }

    async with http.post(f"/v1beta/models/{family.model}:generateContent", json=body) as answer:
        told = await answer.json()

    assert answer.status == 200, told
    assert json.loads(parts_of([told])[0]["text"]) == {"next_speaker": "user"}
    sent = family.sent(upstream.asked[0]).schema
    assert sent["properties"]["next_speaker"]["enum"] == ["user", "model"]


async def test_it_counts_before_it_sends(http: aiohttp.ClientSession, family: Family, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({"totalTokens": 77, "input_tokens": 77}))

    async with http.post(f"/v1beta/models/{family.model}:countTokens", json={"contents": [*SETUP, QUESTION]}) as answer:
        told = await answer.json()

    assert answer.status == 200
    counts = family.slug in ("anthropic", "gemini")
    assert (told["totalTokens"] == 77) is counts
    assert told["totalTokens"] > 20
    assert answer.headers.get("X-Router-Estimate") == (None if counts else "true")


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse", "countTokens"])
async def test_a_wrong_key(served: Served, method: str) -> None:
    async with (
        aiohttp.ClientSession(served.url, headers={"x-goog-api-key": "AIza-wrong"}) as http,
        http.post(f"/v1beta/models/echo/echo:{method}", json=turn(QUESTION)) as answer,
    ):
        told = await answer.json()

    assert (answer.status, told["error"]["code"], told["error"]["status"]) == (401, 401, "UNAUTHENTICATED")
    assert told["error"]["details"][0]["@type"].endswith("google.rpc.ErrorInfo")


async def test_the_key_may_be_in_the_query(served: Served) -> None:
    """As curl examples have it; without alt=sse the answer is an array."""
    address = f"{served.url}/v1beta/models/echo/echo:streamGenerateContent?key={served.key}"
    async with aiohttp.ClientSession() as http, http.post(address, json={"contents": [QUESTION]}) as answer:
        told = json.loads(await answer.read())

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert isinstance(told, list)
    assert told[-1]["candidates"][0]["finishReason"] == "STOP"
    assert served.key not in served.log.read_text()


@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models", "/api/v1/models", "/api/v1beta/models"])
async def test_the_list_of_models(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path, params={"pageSize": "2"}) as answer:
        first = await answer.json()
    async with http.get(path, params={"pageSize": "2", "pageToken": first["nextPageToken"]}) as answer:
        second = await answer.json()
    async with http.get(f"{path}/{first['models'][0]['name'].removeprefix('models/')}") as answer:
        one = await answer.json()

    names = [model["name"] for model in (*first["models"], *second["models"])]
    assert len(names) == len(set(names)) == 4
    assert names == sorted(names)
    assert all(name.startswith("models/") for name in names)
    assert one == first["models"][0]
    assert {"generateContent", "countTokens"} <= set(one["supportedGenerationMethods"])


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/v1beta/models?pageSize=0", 400, "INVALID_ARGUMENT"),
        ("/v1beta/models?pageSize=many", 400, "INVALID_ARGUMENT"),
        ("/v1beta/models?pageToken=%C3%A5", 400, "INVALID_ARGUMENT"),
        ("/v1/models/no/such", 404, "NOT_FOUND"),
        ("/v1beta/models/no:such", 404, "NOT_FOUND"),
        ("/v1beta/nothing", 404, "NOT_FOUND"),
        ("/v1beta/models/echo/echo:generateContent", 405, "UNIMPLEMENTED"),
        ("/v1/models/echo/echo:streamGenerateContent", 405, "UNIMPLEMENTED"),
    ],
)
async def test_errors_are_googles_too(http: aiohttp.ClientSession, path: str, status: int, word: str) -> None:
    async with http.get(path) as answer:
        told = await answer.json()

    assert (answer.status, told["error"]["status"]) == (status, word)
    if status == 405:
        assert answer.headers["Allow"] == "POST"


async def test_clients_of_others_keep_their_list(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.key}"}
    async with aiohttp.ClientSession(served.url, headers=headers) as http:
        async with http.get("/v1/models") as answer:
            listed = await answer.json()
        async with http.get("/v1/models/no:such") as answer:
            missing = await answer.json()

    assert listed["object"] == "list"
    assert missing["error"]["type"] == "not_found_error"
