"""Recorded lists of models are discovered, and Google's counts of tokens reach Google's clients, by the plugins of their providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.settings import Settings
from router.testing import FakeUpstream, Running, json_answer, running, until

from .lists import DIALECTS, EXCLUDED
from .recordings import MISSING, Recording, recordings

pytestmark = pytest.mark.wire

SKIPPED = pytest.mark.skip(reason=MISSING)
REPLAYED = [each for each in recordings() if each.dialect in DIALECTS and each.name not in EXCLUDED]
LISTS = [pytest.param(each, id=each.name) for each in REPLAYED if each.dialect.endswith("-models")] or [
    pytest.param(None, marks=SKIPPED)
]
COUNTS = [pytest.param(each, id=each.name) for each in REPLAYED if each.dialect.endswith("-tokens")] or [
    pytest.param(None, marks=SKIPPED)
]
#: how long a list may take to arrive on a busy machine
PATIENCE_S = 20


@pytest.mark.parametrize("recording", LISTS)
async def test_listed_models_can_be_asked_for(recording: Recording, tmp_path: Path) -> None:
    """All that generate, with the lengths that the list states."""
    google = recording.dialect == "gemini-models"
    wanted = google_models(recording.body) if google else {each["id"]: each for each in recording.body["data"]}
    async with FakeUpstream().listening() as upstream:
        upstream.will(json_answer(recording.raw))
        provider: dict[str, Any] = {"plugin": "gemini", "base_url": upstream.url}
        if not google:
            provider = {"plugin": "openai-compatible", "base_url": f"{upstream.url}/v1"}
        provider |= {"api_key": "upstream-key", "discover": True}
        async with running(Settings(providers={"lister": provider}), tmp_path) as router:
            found = await listed(router, wanted.keys())

    assert (upstream.asked[0].method, upstream.asked[0].path.partition("?")[0]) == (
        "GET",
        "/v1beta/models" if google else "/v1/models",
    )
    for id, said in wanted.items():
        length = said.get("inputTokenLimit") if google else said.get("context_length")
        assert found[id]["context_length"] == (length or None), id
        if name := said.get("displayName") or said.get("name"):
            assert found[id]["name"] in (name, f"lister: {name}"), id


def google_models(body: dict[str, Any]) -> dict[str, Any]:
    """Those that generate, by the id without its collection."""
    return {
        each["name"].removeprefix("models/"): each
        for each in body["models"]
        if "generateContent" in each["supportedGenerationMethods"]
    }


async def listed(router: Running, wanted: Any) -> dict[str, Any]:
    """What the router lists, once all that is wanted is there."""

    async def found() -> dict[str, Any] | None:
        answer = await router.get("/v1/models?output_modalities=all")
        rows = {each["id"].removeprefix("lister/"): each for each in (await answer.json())["data"]}
        return rows if wanted <= rows.keys() else None

    rows: dict[str, Any] = await until(found, PATIENCE_S)
    return rows


@pytest.mark.parametrize("recording", COUNTS)
async def test_tokens_are_counted_as_recorded(recording: Recording, tmp_path: Path) -> None:
    """A client of Google's counts what was recorded; where Google does not know the model, the router estimates and says so."""
    asked = recording.asked
    assert asked is not None
    path = recording.exchange["request"]["path"]
    model = path.rsplit("/models/")[-1].split(":")[0]
    async with FakeUpstream().listening() as upstream:
        upstream.will(json_answer(recording.raw, status=recording.status))
        provider: dict[str, Any] = {"plugin": recording.provider, "base_url": upstream.url}
        if recording.provider == "vertex":
            provider |= {"project": "SCRUBBED", "location": "global", "access_token": "t"}
        else:
            provider |= {"api_key": "k"}
        async with running(Settings(providers={"google": provider}), tmp_path) as router:
            answer = await router.post(f"/v1beta/models/google/{model}:countTokens", asked)

    told = await answer.json()
    assert answer.status == 200
    sent = upstream.asked[0]
    assert sent.path == path
    assert sent.body.get("generateContentRequest", sent.body)["contents"] == asked["contents"]
    if recording.status == 200:
        assert told["totalTokens"] == recording.body["totalTokens"]
        assert "X-Router-Estimate" not in answer.headers
    else:
        assert told["totalTokens"] > 0
        assert answer.headers["X-Router-Estimate"] == "true"


def test_nothing_is_left_out_without_a_reason() -> None:
    if not recordings():
        pytest.skip(MISSING)
    assert EXCLUDED.keys() <= {each.name for each in recordings()}
