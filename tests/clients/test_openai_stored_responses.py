"""The openai SDK with `responses.store` on: responses that are kept, gone on from, run in the background, fetched and deleted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import ClientSession

from router.server import Server
from router.serving import listening
from router.settings import ResponsesSettings, Settings
from router.testing import FakeUpstream, json_answer, sse_answer
from tests.serving import ROOT, Served, serving, within

from .families import FAMILIES, Answer, Family, ToolCall

HELLO = Answer(words=("Hello", " there."))
AGAIN = Answer(words=("You said hello.",))
RAW = "openai/gpt-5-mini"
SECRET = "gAAAA-made-up"
#: how long a run may take to get somewhere on a busy machine
PATIENCE_S = 20


@pytest.fixture(scope="module")
def keeping(fake_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A router that keeps responses."""
    providers: dict[str, Any] = {family.slug: family.provider(fake_upstream.url) for family in FAMILIES}
    tables = {"providers": {**providers, "echo": {"plugin": "echo"}}, "responses": {"store": True}}
    with serving(tmp_path_factory.mktemp("keeping"), tables) as served:
        yield served


@pytest.fixture
def client(keeping: Served) -> Iterator[openai.OpenAI]:
    with opened(keeping) as client:
        yield client


@pytest.fixture(params=[family for family in FAMILIES if family.slug != "openai"], ids=lambda family: family.slug)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family that does not speak Responses."""
    found: Family = request.param
    return found


def response(id: str, text: str, **members: Any) -> dict[str, Any]:
    """What OpenAI answers, with thinking that only OpenAI can read."""
    message = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": id,
        "object": "response",
        "created_at": 1_760_000_000,
        "status": "completed",
        "model": "gpt-5-mini-2025-08-07",
        "output": [
            {"id": f"rs_{id}", "type": "reasoning", "summary": [], "encrypted_content": SECRET},
            {"id": f"msg_{id}", "type": "message", "status": "completed", "role": "assistant", "content": [message]},
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "store": False,
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 8,
        },
        **members,
    }


def opened(served: Served) -> openai.OpenAI:
    """The SDK as it comes, without second tries."""
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0, timeout=30)


def other_key(served: Served) -> str:
    """A second key, which the running router gets to know within half a second."""
    told = subprocess.run(
        [sys.executable, "-m", "router", "keys", "create", "--name", "another"],
        cwd=served.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    key = told.stdout.split()[0]
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0) as other:
        assert within(PATIENCE_S, lambda: known(other))
    return key


def known(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return False
    return True


async def restarted(folder: Path, key: str, *ids: str) -> list[Any]:
    """Responses as a router gives them that starts on the database in this folder."""
    settings = Settings(providers={"echo": {"plugin": "echo"}}, responses=ResponsesSettings(store=True))
    settings.server.listen, settings.server.database = "127.0.0.1:0", str(folder / "router.db")
    server = Server(settings, {})
    await server.start()
    try:
        async with listening(server) as url, ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            return [await (await session.get(f"{url}/v1/responses/{id}")).json() for id in ids]
    finally:
        await server.stop()


def until(client: openai.OpenAI, id: str, *statuses: str) -> Any:
    """The response, when its status is one of these."""
    assert within(PATIENCE_S, lambda: client.responses.retrieve(id).status in statuses)
    return client.responses.retrieve(id)


# --- kept ------------------------------------------------------------------------------------------------------------


def test_a_response_can_be_fetched_and_deleted(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(HELLO))

    made = client.responses.create(model=family.model, input="Hello", metadata={"topic": "greeting"})
    found = client.responses.retrieve(made.id)
    client.responses.delete(made.id)

    assert made.id.startswith("resp_")
    assert (found.id, found.output_text, found.status) == (made.id, "Hello there.", "completed")
    assert found == made
    assert found.metadata == {"topic": "greeting"}
    assert (found.to_dict()["store"], found.usage) == (True, made.usage)
    with pytest.raises(openai.NotFoundError, match="30 days") as gone:
        client.responses.retrieve(made.id)
    assert gone.value.type == "not_found_error"
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(made.id)


def test_a_streamed_response_is_kept_too(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.streamed(HELLO))

    events = list(client.responses.create(model=family.model, input="Hello", stream=True))

    last: Any = events[-1]
    assert last.type == "response.completed"
    assert client.responses.retrieve(last.response.id).output_text == "Hello there."


def test_store_false_keeps_nothing(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(HELLO))

    made = client.responses.create(model=family.model, input="Hello", store=False)

    assert made.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_what_was_asked_can_be_listed(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.will(FAMILIES[0].plain(HELLO))
    items: Any = [{"role": "user", "content": f"Number {number}"} for number in range(5)]

    made = client.responses.create(model="local/small-1", input=items)
    listed = list(client.responses.input_items.list(made.id, limit=2, order="asc"))
    newest = client.responses.input_items.list(made.id, limit=1)

    texts = [item.to_dict()["content"][0]["text"] for item in listed]  # type: ignore[index]
    assert texts == [f"Number {number}" for number in range(5)]
    assert newest.data[0].to_dict()["content"] == [{"type": "input_text", "text": "Number 4"}]
    assert newest.has_more
    with pytest.raises(openai.BadRequestError, match="limit"):
        client.responses.input_items.list(made.id, limit=101)


def test_a_stream_that_fails_is_kept_as_failed(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    family = next(each for each in FAMILIES if each.slug == "anthropic")
    frames = family.frames(Answer(words=("Well", ", I")))
    upstream.will(sse_answer([*frames[:4], family.failing("too busy")]))

    events: Any = list(client.responses.create(model=family.model, input="Hello", stream=True))

    assert events[-1].type == "response.failed"
    found = client.responses.retrieve(events[-1].response.id)
    assert (found.status, found.error is not None) == ("failed", True)
    with pytest.raises(openai.BadRequestError, match="is failed"):
        client.responses.create(model=family.model, input="And?", previous_response_id=found.id)


# --- gone on from ----------------------------------------------------------------------------------------------------


def test_a_chain_of_three(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(HELLO), family.streamed(AGAIN), family.plain(HELLO))
    ask: dict[str, Any] = {"model": family.model}

    first = client.responses.create(input="Hello", instructions="Be kind.", **ask)
    events: Any = list(
        client.responses.create(input="What did I say?", previous_response_id=first.id, stream=True, **ask)
    )
    second = events[-1].response
    third = client.responses.create(
        input=[{"role": "user", "content": "Thanks"}], previous_response_id=second.id, **ask
    )

    texts = family.sent(upstream.asked[-1]).texts
    assert texts == ["Hello", "Hello there.", "What did I say?", "You said hello.", "Thanks"]
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    listed = client.responses.input_items.list(third.id).data
    assert [item.to_dict()["content"][0]["text"] for item in listed] == ["Thanks"]  # type: ignore[index]


def test_tools_and_thinking_go_on(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    family = next(each for each in FAMILIES if each.slug == "anthropic")
    call = ToolCall("toolu_1", "weather", {"city": "Oslo"})
    upstream.will(family.plain(Answer(thought="They want weather.", calls=[call])), family.plain(HELLO))
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    ask: dict[str, Any] = {"model": family.model, "tools": [tool], "reasoning": {"effort": "low"}}

    first = client.responses.create(input="Weather?", **ask)
    output: Any = [{"type": "function_call_output", "call_id": "toolu_1", "output": "Rain"}]
    client.responses.create(input=output, previous_response_id=first.id, **ask)

    sent = upstream.asked[-1].body["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["thinking", "tool_use"]
    assert sent[1]["content"][0]["signature"]
    assert family.sent(upstream.asked[-1]).results == [("toolu_1", "Rain")]


def test_items_can_be_referred_to(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(family.plain(HELLO))
    first = client.responses.create(model=family.model, input="Hello")
    (asked,) = client.responses.input_items.list(first.id).data
    references: Any = [{"type": "item_reference", "id": id} for id in (asked.to_dict()["id"], first.output[-1].id)]

    client.responses.create(
        model=family.model, input=[*references, {"role": "user", "content": "And now?"}], store=False
    )

    assert family.sent(upstream.asked[-1]).texts == ["Hello", "Hello there.", "And now?"]
    with pytest.raises(openai.BadRequestError, match="no kept item") as unknown:
        client.responses.create(model=family.model, input=[{"type": "item_reference", "id": "msg_unknown"}])
    assert unknown.value.param == "input[0]"


def test_what_is_unknown_is_said_in_openais_words(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model="echo/echo", input="Hello", previous_response_id="resp_unknown")

    assert (unknown.value.code, unknown.value.param) == ("previous_response_not_found", "previous_response_id")
    assert unknown.value.type == "invalid_request_error"


def test_a_link_that_was_deleted_breaks_the_chain(client: openai.OpenAI) -> None:
    first = client.responses.create(model="echo/echo", input="Hello")
    second = client.responses.create(model="echo/echo", input="Again", previous_response_id=first.id)
    client.responses.delete(first.id)

    with pytest.raises(openai.BadRequestError, match="no longer kept"):
        client.responses.create(model="echo/echo", input="And again", previous_response_id=second.id)


def test_another_key_sees_nothing_of_it(client: openai.OpenAI, keeping: Served) -> None:
    made = client.responses.create(model="echo/echo", input="Hello")
    running = client.responses.create(model="echo/echo", input="Hello", background=True)

    with openai.OpenAI(base_url=f"{keeping.url}/v1", api_key=other_key(keeping), max_retries=0) as other:
        for id in (made.id, running.id):
            for ask in (
                lambda id=id: other.responses.retrieve(id),
                lambda id=id: other.responses.delete(id),
                lambda id=id: other.responses.cancel(id),
                lambda id=id: other.responses.input_items.list(id),
            ):
                with pytest.raises(openai.NotFoundError):
                    ask()
            with pytest.raises(openai.BadRequestError, match="of this key"):
                other.responses.create(model="echo/echo", input="And?", previous_response_id=id)
        with pytest.raises(openai.BadRequestError, match="of this key"):
            other.responses.create(model="echo/echo", input=[{"type": "item_reference", "id": str(made.output[0].id)}])

    assert client.responses.retrieve(made.id).id == made.id


# --- in the background -----------------------------------------------------------------------------------------------


def test_a_response_in_the_background(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(json_answer(family.body(HELLO), delay_s=0.5))

    made = client.responses.create(model=family.model, input="Hello", background=True)
    with pytest.raises(openai.BadRequestError, match="still runs"):
        client.responses.create(model=family.model, input="And?", previous_response_id=made.id)
    early = client.responses.retrieve(made.id)
    found = until(client, made.id, "completed")

    assert (made.status, made.background, made.output, made.usage) == ("queued", True, [], None)
    assert early.status == "in_progress"
    assert (found.id, found.output_text, found.background) == (made.id, "Hello there.", True)
    assert client.responses.cancel(made.id).status == "completed"
    upstream.will(family.plain(AGAIN))
    client.responses.create(model=family.model, input="And?", previous_response_id=made.id)
    assert family.sent(upstream.asked[-1]).texts == ["Hello", "Hello there.", "And?"]


def test_cancelling_closes_the_upstream(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(json_answer(family.body(HELLO), delay_s=60))

    made = client.responses.create(model=family.model, input="Hello", background=True)
    assert within(PATIENCE_S, lambda: bool(upstream.asked))
    cancelled = client.responses.cancel(made.id)

    assert (cancelled.id, cancelled.status) == (made.id, "cancelled")
    assert client.responses.retrieve(made.id).status == "cancelled"
    assert within(PATIENCE_S, lambda: upstream.left == 1)


def test_a_failure_in_the_background(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    family = next(each for each in FAMILIES if each.slug == "anthropic")
    upstream.will(family.fails(400, "prompt is too long: 300000 tokens > 200000 maximum", "invalid_request_error"))

    made = client.responses.create(model=family.model, input="Hello", background=True)
    found = until(client, made.id, "failed")

    assert found.error.code == "context_length_exceeded"
    assert found.output == []


def test_what_cannot_begin_is_said_at_once(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody/nothing"):
        client.responses.create(model="nobody/nothing", input="Hello", background=True)
    with pytest.raises(openai.BadRequestError, match="needs store"):
        client.responses.create(model="echo/echo", input="Hello", background=True, store=False)
    with pytest.raises(openai.BadRequestError, match="not streamed"):
        client.responses.create(model="echo/echo", input="Hello", background=True, stream=True)

    made = client.responses.create(model="echo/echo", input="Hello")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)


def test_deleting_ends_a_run(client: openai.OpenAI, upstream: FakeUpstream, family: Family) -> None:
    upstream.will(json_answer(family.body(HELLO), delay_s=60))
    made = client.responses.create(model=family.model, input="Hello", background=True)

    client.responses.delete(made.id)

    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


# --- relayed to OpenAI -----------------------------------------------------------------------------------------------


def test_openai_is_asked_to_keep_nothing(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(response("resp_up1", "Hello there.")), json_answer(response("resp_up1", "You did.")))

    first = client.responses.create(model=RAW, input="Hello", extra_body={"unheard_of": 1})
    second = client.responses.create(model=RAW, input="What did I say?", previous_response_id=first.id)

    assert first.id != "resp_up1" != second.id
    assert client.responses.retrieve(first.id).output_text == "Hello there."
    assert (second.previous_response_id, second.to_dict()["store"]) == (first.id, True)
    one, two = (asked.body for asked in upstream.asked)
    assert (one["store"], one["unheard_of"], one["input"]) == (False, 1, "Hello")
    assert one["include"] == ["reasoning.encrypted_content"]
    assert two["store"] is False
    assert "previous_response_id" not in two
    text = {"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}
    assert two["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"id": "rs_resp_up1", "type": "reasoning", "summary": [], "encrypted_content": SECRET},
        {"type": "message", "role": "assistant", "content": [text]},
        {"role": "user", "content": "What did I say?"},
    ]


def test_a_relayed_stream_has_the_id_under_which_it_is_kept(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    whole = response("resp_up2", "Hello there.")
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    delta = {"type": "response.output_text.delta", "item_id": "msg_resp_up2", "output_index": 1, "content_index": 0}
    events = [
        {"type": "response.created", "response": begun, "sequence_number": 0},
        {"type": "response.in_progress", "response": begun, "sequence_number": 1},
        {**delta, "delta": "Hello there.", "logprobs": [], "sequence_number": 2},
        {"type": "response.completed", "response": whole, "sequence_number": 3},
    ]
    upstream.will(sse_answer([f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]))

    told: Any = list(client.responses.create(model=RAW, input="Hello", stream=True))

    ids = {event.response.id for event in told if hasattr(event, "response")}
    assert [event.sequence_number for event in told] == [0, 1, 2, 3]
    (id,) = ids
    assert id != "resp_up2"
    assert client.responses.retrieve(id).output_text == "Hello there."


def test_a_conversation_may_go_on_with_another_family(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    gemini = next(each for each in FAMILIES if each.slug == "gemini")
    upstream.will(json_answer(response("resp_up3", "Hello there.")))
    first = client.responses.create(model=RAW, input="Hello")
    upstream.will(gemini.plain(AGAIN))
    second = client.responses.create(model=gemini.model, input="What did I say?", previous_response_id=first.id)
    upstream.will(json_answer(response("resp_up4", "Bye.")))

    client.responses.create(model=RAW, input="Bye", previous_response_id=second.id)

    sent = upstream.asked[-1].body["input"]
    assert [item.get("role", item.get("type")) for item in sent] == [
        *("user", "reasoning", "assistant", "user", "assistant", "user")
    ]


# --- when the router ends --------------------------------------------------------------------------------------------


def test_a_run_that_a_crash_cuts_off_has_failed(upstream: FakeUpstream, tmp_path: Path) -> None:
    family = next(each for each in FAMILIES if each.slug == "local")
    tables = {"providers": {family.slug: family.provider(upstream.url)}, "responses": {"store": True}}
    upstream.will(family.plain(HELLO), json_answer(family.body(HELLO), delay_s=60))
    with serving(tmp_path, tables) as served, opened(served) as client:
        whole = client.responses.create(model=family.model, input="Hello")
        cut = client.responses.create(model=family.model, input="Hello", background=True)
        served.process.kill()
        served.process.wait(PATIENCE_S)
        key = served.key

    found, kept = asyncio.run(restarted(tmp_path, key, cut.id, whole.id))

    assert (found["status"], kept["status"]) == ("failed", "completed")
    assert "was ended" in found["error"]["message"]


def test_a_run_that_a_stop_cuts_off_has_failed(upstream: FakeUpstream, tmp_path: Path) -> None:
    family = next(each for each in FAMILIES if each.slug == "local")
    tables = {
        "server": {"drain_seconds": 0.2},
        "providers": {family.slug: family.provider(upstream.url)},
        "responses": {"store": True},
    }
    upstream.will(json_answer(family.body(HELLO), delay_s=60))
    with serving(tmp_path, tables) as served, opened(served) as client:
        cut = client.responses.create(model=family.model, input="Hello", background=True)
        served.stop()

    with contextlib.closing(sqlite3.connect(tmp_path / "router.db")) as database:
        (row,) = database.execute("SELECT id, status FROM responses").fetchall()
    assert row == (cut.id, "failed")
