"""The `provider` object: every member is checked, on every surface, with the place of what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from router.dialects.openai_chat.fields import preferences
from router.dialects.openai_chat.preferences import PRICES

from .conftest import Standing

HELLO = [{"role": "user", "content": "hello"}]
#: path, body and where the object stands in it
SURFACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "echo/echo", "messages": HELLO}),
    "completions": ("/v1/completions", {"model": "echo/echo", "prompt": "hello"}),
    "responses": ("/v1/responses", {"model": "echo/echo", "input": "hello"}),
    "messages": ("/v1/messages", {"model": "echo/echo", "max_tokens": 9, "messages": HELLO}),
    "gemini": ("/v1beta/models/echo/echo:generateContent", {"contents": [{"parts": [{"text": "hello"}]}]}),
    "embeddings": ("/v1/embeddings", {"model": "echo/echo", "input": "hello"}),
}
#: the object, and the place in it that is wrong
WRONG: list[tuple[Any, str]] = [
    ([], ""),
    ("echo", ""),
    ({"orders": []}, ".orders"),
    ({"order": "echo"}, ".order"),
    ({"order": [1]}, ".order[0]"),
    ({"only": ["echo", ""]}, ".only[1]"),
    ({"ignore": ["a\u0000b"]}, ".ignore[0]"),
    ({"allow_fallbacks": "yes"}, ".allow_fallbacks"),
    ({"require_parameters": 1}, ".require_parameters"),
    ({"data_collection": "none"}, ".data_collection"),
    ({"zdr": "true"}, ".zdr"),
    ({"enforce_distillable_text": 0}, ".enforce_distillable_text"),
    ({"quantizations": "fp8"}, ".quantizations"),
    ({"quantizations": ["fp8", "fp7"]}, ".quantizations[1]"),
    ({"sort": "cost"}, ".sort"),
    ({"sort": ["price"]}, ".sort"),
    ({"sort": {"by": "cost"}}, ".sort.by"),
    ({"sort": {"by": "price", "partition": "all"}}, ".sort.partition"),
    ({"sort": {"key": "price"}}, ".sort.key"),
    ({"preferred_min_throughput": -1}, ".preferred_min_throughput"),
    ({"preferred_min_throughput": "50"}, ".preferred_min_throughput"),
    ({"preferred_min_throughput": {"p95": 1}}, ".preferred_min_throughput.p95"),
    ({"preferred_max_latency": {"p90": -0.5}}, ".preferred_max_latency.p90"),
    ({"preferred_max_latency": {"p90": "1"}}, ".preferred_max_latency"),
    ({"max_price": 1}, ".max_price"),
    ({"max_price": {"prompt": -1}}, ".max_price.prompt"),
    ({"max_price": {"completion": "cheap"}}, ".max_price.completion"),
    ({"max_price": {"request": "-1"}}, ".max_price.request"),
    ({"max_price": {"image": "Infinity"}}, ".max_price.image"),
    ({"max_price": {"image": "1_000"}}, ".max_price.image"),
    ({"max_price": {"tokens": 1}}, ".max_price.tokens"),
]
RIGHT: list[Any] = [
    None,
    {},
    {"order": ["echo", "other/fast"], "only": ["echo"], "ignore": ["other"], "allow_fallbacks": True},
    {"require_parameters": False, "data_collection": "allow", "zdr": False, "enforce_distillable_text": False},
    {"data_collection": "deny", "quantizations": ["fp8", "unknown"]},
    {"sort": "exacto"},
    {"sort": {"by": "latency", "partition": "none"}},
    {"sort": {"by": None, "partition": None}},
    {"preferred_min_throughput": 50, "preferred_max_latency": 0.5},
    {"preferred_min_throughput": {"p50": 1, "p75": 2.5, "p90": None}, "preferred_max_latency": {"p99": 3}},
    {"max_price": {"prompt": 1000, "completion": "1000.5", "request": "1e3", "image": None, "audio": 0.25}},
    dict.fromkeys(("order", "only", "ignore", "sort", "max_price", "zdr", "quantizations", "allow_fallbacks")),
]


async def ask(standing: Standing, surface: str, provider: Any) -> tuple[int, Any]:
    path, body = SURFACES[surface]
    body = body | ({"routerConfig": {"provider": provider}} if surface == "gemini" else {"provider": provider})
    headers = {"Authorization": f"Bearer {standing.key}"}
    async with standing.session.post(standing.url + path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("provider", "place"), WRONG)
async def test_what_is_wrong_is_named_on_every_surface(standing: Standing, provider: Any, place: str) -> None:
    for surface in SURFACES:
        status, answer = await ask(standing, surface, provider)

        assert status == 400, (surface, answer)
        assert f"provider{place}" in answer["error"]["message"], surface
        if surface not in ("messages", "gemini"):  # whose envelopes have no such member
            assert answer["error"]["param"] == f"provider{place}", surface


@pytest.mark.parametrize("provider", RIGHT)
async def test_what_is_right_is_taken_on_every_surface(standing: Standing, provider: Any) -> None:
    for surface in SURFACES.keys() - {"embeddings"}:
        status, answer = await ask(standing, surface, provider)

        assert status == 200 or answer["error"]["code"] != "invalid_request", (surface, answer)
        assert status in (200, 404), (surface, answer)


def test_decimal_text_is_a_number() -> None:
    found = preferences(msgspec.Raw(b'{"max_price": {"prompt": "0.5", "completion": 2, "image": null}}'))

    assert found is not None
    assert found.max_price == {"prompt": 0.5, "completion": 2.0}
    assert set(found.max_price) < set(PRICES)
