"""Recorded vectors, orders and judgements reach clients through the plugins of their providers, and what was asked reaches them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from . import azure
from .modalities import DIALECTS, EXCLUDED, PLUGINS
from .recordings import MISSING, Recording, recordings
from .stage import Stage, staged, toml
from .upstream import Asked

pytestmark = pytest.mark.wire

REPLAYED = [each for each in recordings() if each.dialect in DIALECTS and each.name not in EXCLUDED]
EMBEDDINGS = [each for each in REPLAYED if each.dialect.endswith(("embed", "embeddings"))]
SKIPPED = pytest.mark.skip(reason=MISSING)

#: the words of Cohere, Voyage and Ollama for what OpenAI calls otherwise; `truncate`, `truncation` are ours
SAME = {"output_dimension": "dimensions", "texts": "input", "prompt": "input"}


def params(found: list[Recording]) -> list[Any]:
    return [pytest.param(each, id=each.name) for each in found] or [pytest.param(None, marks=SKIPPED)]


def vectors_of(recording: Recording) -> list[list[float]]:
    """What was recorded, whatever form it has."""
    match recording.body:
        case {"data": data}:
            return [numbers(each["embedding"]) for each in data]
        case {"embeddings": {"float": vectors}}:
            return list(vectors)
        case {"embeddings": vectors}:
            return [each["values"] for each in vectors]
        case {"predictions": predictions}:
            return [each["embeddings"]["values"] for each in predictions]
        case {"embedding": vector}:
            return [vector]
    raise AssertionError(recording.name)


def numbers(vector: Any) -> list[float]:
    if isinstance(vector, list):
        return vector
    packed = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def tokens_of(recording: Recording) -> int | None:
    """What the upstream counted, None where it did not."""
    match recording.body:
        case {"usage": {"prompt_tokens": count}} | {"usageMetadata": {"promptTokenCount": count}}:
            return int(count)
        case {"meta": {"billed_units": {"input_tokens": count}}}:
            return int(count)
        case {"predictions": predictions}:
            return sum(each["embeddings"]["statistics"]["token_count"] for each in predictions)
    return None


def question(recording: Recording) -> dict[str, Any]:
    """An OpenAI client's request for what was asked."""
    asked = recording.asked
    if asked is None:
        return {"input": ["x"] * len(vectors_of(recording))}
    if "requests" in asked:
        inputs = [{"content": [gemini_part(part) for part in each["content"]["parts"]]} for each in asked["requests"]]
        return {"input": inputs, "dimensions": asked["requests"][0]["outputDimensionality"]}
    if "instances" in asked:
        return {"input": [each["content"] for each in asked["instances"]]}
    names = ("input", "texts", "prompt", "dimensions", "output_dimension", "encoding_format", "input_type", "user")
    return {SAME.get(name, name): asked[name] for name in names if asked.get(name) is not None}


def gemini_part(part: dict[str, Any]) -> dict[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    data = part["inline_data"]
    return {"type": "image_url", "image_url": {"url": f"data:{data['mime_type']};base64,{data['data']}"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The router with an instance for each recording and test."""
    if not REPLAYED:
        pytest.skip(MISSING)
    instances = {prefix + each.name: each for prefix in ("", "x-", "q-") for each in REPLAYED}
    folder = tmp_path_factory.mktemp("modalities")
    async with staged(instances, lambda url: config(url, instances), folder) as stage:
        yield stage


def config(upstream: str, instances: dict[str, Recording]) -> str:
    """A provider for each, whose base URL leads to its recording."""
    lines = []
    for name, each in instances.items():
        plugin = each.provider if each.provider in PLUGINS else "openai-compatible"
        version = "/v1" if plugin in ("openai", "openrouter", "mistral", "voyage") else ""
        base = f"{upstream}/x/{name}"
        table = azure.settings(each, base) if plugin == "azure" else {"plugin": plugin, "base_url": f"{base}{version}"}
        table |= {"api_key": "upstream-key"} if plugin != "ollama" else {}
        table |= {"project": "SCRUBBED", "location": "<GOOGLE_CLOUD_LOCATION>"} if plugin == "vertex" else {}
        lines += [f"[providers.{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    return "\n".join(lines)


async def post(
    http: aiohttp.ClientSession, stage: Stage, path: str, body: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {stage.key}"}
    async with http.post(f"{stage.url}{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("wanted", ["float", "base64"])
@pytest.mark.parametrize("recording", params([each for each in EMBEDDINGS if each.status == 200]))
async def test_clients_get_the_recorded_vectors(
    stage: Stage, http: aiohttp.ClientSession, recording: Recording, wanted: str
) -> None:
    body = question(recording) | {"model": f"{recording.name}/{model_of(recording)}", "encoding_format": wanted}

    status, told = await post(http, stage, "/v1/embeddings", body)

    assert status == 200, told
    recorded = vectors_of(recording)
    assert len(told["data"]) == len(recorded)
    for item, vector in zip(told["data"], recorded, strict=True):
        assert isinstance(item["embedding"], str) == (wanted == "base64")
        assert numbers(item["embedding"]) == pytest.approx(vector, rel=1e-6)
    count = tokens_of(recording)
    assert ("estimated" in told["usage"]) == (count is None)
    if count is not None:
        assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] == count


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", params([each for each in EMBEDDINGS if each.status != 200]))
async def test_clients_get_the_recorded_failure(
    stage: Stage, http: aiohttp.ClientSession, recording: Recording
) -> None:
    body = question(recording) | {"model": f"x-{recording.name}/{model_of(recording)}"}

    status, told = await post(http, stage, "/v1/embeddings", body)

    assert status == recording.status
    said = recording.body
    message = said.get("detail") or said.get("message") or said["error"]["message"]
    assert told["error"]["message"] == message[:500]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", params([each for each in EMBEDDINGS if each.asked is not None]))
async def test_upstreams_are_asked_as_was_recorded(
    stage: Stage, http: aiohttp.ClientSession, recording: Recording
) -> None:
    name = f"q-{recording.name}"
    await post(http, stage, "/v1/embeddings", question(recording) | {"model": f"{name}/{model_of(recording)}"})

    sent: Asked = next(each for each in stage.upstream.asked[name] if each.method == "POST")
    assert recording.asked is not None
    own = {"model": azure.deployment(recording)} if recording.provider == "azure" else {}
    assert normal(sent.body) == normal(recording.asked) | own
    path = recording.exchange["request"]["path"]
    if recording.provider == "azure":
        assert (sent.path, sent.query) == azure.address(recording, "/embeddings")
    elif recording.provider in PLUGINS - {"ollama"}:
        assert sent.path == path.removeprefix("/api")


def model_of(recording: Recording) -> str:
    """The model as the upstream knows it; one that gives vectors, where none was recorded."""
    asked = recording.asked or {}
    if recording.provider == "vertex":
        return str(recording.exchange["request"]["path"].rpartition("/")[2].partition(":")[0])
    if recording.dialect == "gemini-embed":
        return str(asked["requests"][0]["model"]).removeprefix("models/")
    return str(asked.get("model", "embed"))


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what may differ: nulls, the encoding (any is understood), what a truncated input does, forms of one input."""
    text = json.dumps(body).replace("inline_data", "inlineData").replace("mime_type", "mimeType")
    left = {
        name: value
        for name, value in json.loads(text).items()
        if value is not None
        and name
        not in ("encoding_format", "truncate", "truncation", "options", "output_dtype", "max_tokens", "parameters")
    }
    if "prompt" in left:
        left["input"] = left.pop("prompt")
    if isinstance(left.get("input"), str):
        left["input"] = [left["input"]]
    return left


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", params([each for each in REPLAYED if each.dialect == "cohere-rerank"]))
async def test_clients_get_the_recorded_order(stage: Stage, http: aiohttp.ClientSession, recording: Recording) -> None:
    asked = recording.asked
    assert asked is not None
    body = {**asked, "model": f"{recording.name}/{asked['model']}"}

    status, told = await post(http, stage, "/v1/rerank", body)

    assert status == 200, told
    found = [{name: each[name] for name in ("index", "relevance_score")} for each in told["results"]]
    assert found == recording.body["results"]
    assert told["results"][0]["document"]["text"] == asked["documents"][found[0]["index"]]
    assert told["usage"]["search_units"] == recording.body["meta"]["billed_units"]["search_units"]
    sent = stage.upstream.asked[recording.name][0]
    assert (sent.path, sent.body) == ("/v2/rerank", asked)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("recording", params([each for each in REPLAYED if each.dialect == "openai-moderations"]))
async def test_clients_get_the_recorded_judgement(
    stage: Stage, http: aiohttp.ClientSession, recording: Recording
) -> None:
    asked = recording.asked
    assert asked is not None

    status, told = await post(http, stage, "/v1/moderations", {**asked, "model": f"{recording.name}/{asked['model']}"})

    assert (status, told) == (200, recording.body)
    sent = stage.upstream.asked[recording.name][0]
    assert (sent.path, sent.body) == ("/v1/moderations", asked)


def test_nothing_is_left_out_without_a_reason() -> None:
    if not REPLAYED:
        pytest.skip(MISSING)
    left_out = {each.name for each in recordings() if each.dialect in DIALECTS} - {each.name for each in REPLAYED}
    assert left_out == EXCLUDED.keys()
