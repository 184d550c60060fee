"""What every client must be able to do with a model of each family, over sockets, through a router in a process of its own."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from base64 import b64decode
from itertools import islice
from uuid import uuid4

import pytest

from .client import Client, Stage

WORDS = "Hei, Ås! 🌍"
PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
#: of each family whose models have vectors
VECTORS = {"openai": "openai/text-embedding-3-small", "gemini": "gemini/gemini-embedding-001"}


@pytest.mark.feature("plain")
def test_a_plain_answer(client: Client, model: str) -> None:
    assert client.say(model, "Hello") == WORDS


@pytest.mark.feature("stream")
def test_a_stream(client: Client, model: str) -> None:
    words = list(client.stream(model, "Hello"))

    assert len(words) > 1
    assert "".join(words) == WORDS


@pytest.mark.feature("tools")
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tools_both_ways(client: Client, model: str, streamed: bool) -> None:
    """Two calls in one answer, and both results, which the model tells back."""
    calls, said = client.tools(model, "What is the weather?", ["rain", "sun, says Ås"], streamed=streamed)

    assert [(call.name, call.arguments) for call in calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_weather", {"city": "Ås 🌧"}),
    ]
    assert said == "I am told: rain; sun, says Ås"


@pytest.mark.feature("structured")
def test_a_structured_answer(client: Client, model: str) -> None:
    assert client.structured(model, "The weather?") == {"city": "Oslo", "degrees": 21}


@pytest.mark.feature("images")
def test_an_image(client: Client, model: str) -> None:
    assert client.see(model, "What is this?", PNG) == f"I see image/png of {len(PNG)} bytes"


@pytest.mark.feature("embeddings")
def test_embeddings(client: Client, family: str) -> None:
    assert client.embed(VECTORS[family], ["one", "two"]) == [[0.5, -0.25, 1.0]] * 2


@pytest.mark.feature("errors")
def test_a_wrong_key(client: Client, model: str, stage: Stage) -> None:
    with pytest.raises(client.raises) as caught:
        type(client)(stage, "sk-rt-v1-wrong").say(model, "Hello")

    assert client.refused(caught.value).status == 401


@pytest.mark.feature("errors")
def test_a_model_that_nobody_has(client: Client) -> None:
    with pytest.raises(client.raises) as caught:
        client.say("nobody/nothing", "Hello")

    assert client.refused(caught.value).status == 404
    assert "nobody/nothing" in client.refused(caught.value).message


@pytest.mark.feature("errors")
def test_what_the_router_refuses(client: Client, model: str) -> None:
    with pytest.raises(client.raises) as caught:
        client.out_of_range(model)

    assert client.refused(caught.value).status == 400
    assert re.search(r"temperature|max_?(output_?)?tokens", client.refused(caught.value).message, re.IGNORECASE)


@pytest.mark.feature("errors")
@pytest.mark.parametrize("status", [400, 429])
def test_what_the_upstream_refuses(client: Client, model: str, status: int) -> None:
    """Each time another model, since a busy one is left alone for as long as it asked."""
    with pytest.raises(client.raises) as caught:
        client.say(f"{model}-{uuid4().hex}", f"fail with {status}")

    refused = client.refused(caught.value)
    assert refused.status == status
    assert "not like this" in refused.message
    if client.tells_wait and status == 429:
        assert refused.wait == "1"


@pytest.mark.feature("cancel")
def test_leaving_a_stream_ends_it_upstream(client: Client, model: str, stage: Stage) -> None:
    name = uuid4().hex

    client.leave(model, f"tell at length {name}")

    asked = time.monotonic()
    while not left(stage, name):
        assert time.monotonic() < asked + 5, "the upstream still talks"  # a second, and a busy machine
        time.sleep(0.02)


@pytest.mark.sdks
def test_models_are_listed_to_the_end(client: Client, stage: Stage) -> None:
    """Old versions of Anthropic's SDK ask for ever where the next page is the first one again."""
    ids = list(islice(client.models(page=7), 5000))

    assert len(set(ids)) == len(ids) > 20
    assert {"echo/echo", stage.models["openai"]} <= set(ids)


def left(stage: Stage, name: str) -> bool:
    """Whether the upstream knows that nobody listens any more."""
    with urllib.request.urlopen(f"{stage.upstream}/left/{name}", timeout=5) as answer:
        return json.load(answer) is True
