"""The filters, orders, pages and feed of the list of models (api.md 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict

from router.api.listing import Row, paged, selected
from router.server import Server
from router.settings import EndpointSettings, ModelSettings, PriceSettings, Settings
from router.testing import FakeUpstream, Running, json_answer, running

from .envelopes import openai_error
from .test_headers import ASK, WHOLE

Start = Callable[..., Awaitable[Running]]


def model(provider: str = "fake", price: tuple[str, str] | None = ("1", "4"), **facts: Any) -> ModelSettings:
    """A model of ours; `price` is in USD per million tokens."""
    pricing = None
    if price is not None:
        pricing = PriceSettings(prompt=f"{float(price[0]) / 1e6:.9f}", completion=f"{float(price[1]) / 1e6:.9f}")
    facts = {"input_modalities": ["text"], "supported_parameters": ["seed"]} | facts
    return ModelSettings(pricing=pricing, endpoints=[EndpointSettings(provider=provider, model="m")], **facts)


MODELS = {
    "acme/alpha": model(
        context_length=1000, supported_parameters=["tools", "seed"], input_modalities=["text", "image"]
    ),
    "acme/beta": model(
        "safe", ("10", "2"), context_length=200_000, supported_parameters=["tools"], description="Writes Bash & <Perl>."
    ),
    "acme/delta": model(price=None, name="Δelta"),
    "acme/gamma": model(price=("0", "0"), context_length=32_000, input_modalities=["text", "audio"]),
    "acme/painter": model(price=("2.5", "30"), output_modalities=["image", "text"]),
    "acme/reader": model(price=("0.1", "0"), output_modalities=["embeddings"]),
    "acme/voice": model(output_modalities=["speech"]),
}
TEXT = ["alpha", "beta", "delta", "gamma", "painter"]


def tables(upstream: str) -> dict[str, Any]:
    local = {"plugin": "openai-compatible", "base_url": f"{upstream}/v1", "api_key": "key-of-nobody"}
    providers = {
        "fake": local,
        "safe": local | {"zdr": True},
        "openai": {"plugin": "openai"},
        "echo": {"plugin": "echo"},
    }
    return {"providers": providers, "models": MODELS}


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    return await start(**tables(upstream.url))


async def body(router: Running, path: str = "/v1/models", **query: str) -> Any:
    answer = await router.get(f"{path}?{urlencode(query)}" if query else path)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def names(router: Running, **query: str) -> list[str]:
    """Which of acme's models are listed, in order."""
    listed = await body(router, **{"model_authors": "acme"} | query)
    return [each["id"].removeprefix("acme/") for each in listed["data"]]


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", TEXT),
        ("output_modalities=text", TEXT),
        ("output_modalities=all", [*TEXT, "reader", "voice"]),
        ("output_modalities=embeddings,speech", ["reader", "voice"]),
        ("output_modalities=image", ["painter"]),
        ("input_modalities=image", ["alpha"]),
        ("input_modalities=text,audio", ["gamma"]),
        ("input_modalities=audio,image", []),
        ("supported_parameters=tools", ["alpha", "beta"]),
        ("supported_parameters=tools,%20seed", ["alpha"]),
        ("supported_parameters=seed", ["alpha", "delta", "gamma", "painter"]),
        ("supported_parameters=unheard_of", []),
        ("provider=safe", ["beta"]),
        ("providers=Safe,openai", ["beta"]),
        ("provider=acme", TEXT),
        ("model_authors=nobody,acme", TEXT),
        ("category=text", TEXT),
        ("category=programming", []),
        ("category=embedding&output_modalities=all", ["reader"]),
        ("category=speech&output_modalities=all", ["voice"]),
        ("q=ALPHA", ["alpha"]),
        ("search=δELTA", ["delta"]),
        ("q=bash%20%26", ["beta"]),
        ("free=true", ["gamma"]),
        ("free=false", TEXT),
        ("context=32000", ["beta", "gamma"]),
        ("min_context=32001", ["beta"]),
        ("capability=tool_use", ["alpha", "beta"]),
        ("capability=tool_use&capability=vision", ["alpha"]),
        ("capability=embeddings&output_modalities=all", ["reader"]),
        ("min_price=1", ["alpha", "beta", "painter"]),
        ("min_price=1.0000001", ["beta", "painter"]),
        ("max_price=2.5", ["alpha", "gamma", "painter"]),
        ("min_price=1&max_price=2.5", ["alpha", "painter"]),
        ("min_output_price=3", ["alpha", "painter"]),
        ("max_output_price=3", ["beta", "gamma"]),
        ("zdr=true", ["beta"]),
        ("zdr=0", TEXT),
        ("q=&sort=&limit=&output_modalities=&min_price=", TEXT),
        ("nobody_knows=this", TEXT),
        ("supported_parameters=tools&max_price=5&provider=fake", ["alpha"]),
    ],
)
async def test_a_filter_keeps_what_it_says(router: Running, query: str, expected: list[str]) -> None:
    answer = await router.get(f"/v1/models?model_authors=acme&{query}")
    counted = await router.get(f"/api/v1/models/count?model_authors=acme&{query}")

    listed = await answer.json()
    assert answer.status == 200, listed
    assert [each["id"] for each in listed["data"]] == [f"acme/{name}" for name in expected]
    assert listed["total_count"] == len(expected)
    assert await counted.json() == {"count": len(expected), "data": {"count": len(expected)}}


async def test_what_does_not_write_is_listed_where_it_is_asked_for(router: Running) -> None:
    """Clients that offer a model for a chat should not offer these; they are there all the same."""
    plain = {each["id"] for each in (await body(router))["data"]}
    whole = {each["id"] for each in (await body(router, output_modalities="all"))["data"]}

    assert "openai/text-embedding-3-small" not in plain
    assert {"acme/reader", "openai/text-embedding-3-small"} < whole
    assert (await body(router, "/v1/models/acme/reader"))["category"] == "embedding"
    assert (await body(router, "/v1/models/openai/text-embedding-3-small"))["id"] == "openai/text-embedding-3-small"


@pytest.mark.parametrize(
    ("param", "query"),
    [
        ("limit", "limit=0"),
        ("limit", "limit=1001"),
        ("limit", "limit=-1"),
        ("limit", "limit=ten"),
        ("limit", "limit=2.5"),
        ("offset", "offset=-1"),
        ("offset", "offset=٣"),
        ("offset", f"offset={'9' * 400}"),
        ("after_id", "after_id=acme/nothing"),
        ("before_id", "before_id=acme/nothing"),
        ("after_id", "after_id=acme/reader"),
        ("after_id", "after_id=acme/alpha&offset=1"),
        ("after_id", "after_id=acme/alpha&before_id=acme/beta"),
        ("output_modalities", "output_modalities=text,smell"),
        ("input_modalities", "input_modalities=all"),
        ("capability", "capability=flying"),
        ("free", "free=maybe"),
        ("zdr", "zdr=2"),
        ("use_rss", "use_rss=atom"),
        ("context", "context=long"),
        ("min_context", "min_context=-5"),
        ("min_price", "min_price=cheap"),
        ("max_price", "max_price=-1"),
        ("min_output_price", "min_output_price=nan"),
        ("max_output_price", "max_output_price=1e999999"),
        ("sort", "sort=best"),
    ],
)
async def test_a_value_that_means_nothing_is_refused_by_name(router: Running, param: str, query: str) -> None:
    answer = await router.get(f"/v1/models?{query}")

    error = await openai_error(answer, "invalid_request")
    assert error["param"] == param
    assert param in error["message"]


async def test_anthropics_clients_list_models_on_their_own_path(router: Running) -> None:
    """There an error is in their shape."""
    key = {"x-api-key": router.key, "Authorization": ""}

    listed = await router.get("/anthropic/v1/models?limit=2", headers=key)
    one = await router.get("/anthropic/v1/models/acme/alpha", headers=key)
    refused = await router.get("/anthropic/v1/models?limit=no", headers=key)

    assert [each["id"] for each in (await listed.json())["data"]] == ["acme/alpha", "acme/beta"]
    assert (await one.json())["type"] == "model"
    assert (refused.status, (await refused.json())["error"]["type"]) == (400, "invalid_request_error")


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("pricing-low-to-high", ["gamma", "alpha", "beta", "painter", "delta"]),
        ("pricing-high-to-low", ["painter", "beta", "alpha", "gamma", "delta"]),
        ("context-high-to-low", ["beta", "gamma", "alpha", "delta", "painter"]),
        ("newest", TEXT),
    ],
)
async def test_models_come_in_the_order_asked_for(router: Running, sort: str, expected: list[str]) -> None:
    """Those of which nothing is known come last; equal ones by id."""
    assert await names(router, sort=sort) == expected


async def test_the_newest_come_first(router: Running) -> None:
    created = [each["created"] for each in (await body(router, sort="newest"))["data"]]

    assert created == sorted(created, reverse=True)
    assert created[0] > created[-1]


@pytest.mark.parametrize("sort", ["latency-low-to-high", "most-popular", "top-weekly"])
async def test_what_was_asked_comes_before_what_was_not(router: Running, upstream: FakeUpstream, sort: str) -> None:
    upstream.will(json_answer(WHOLE))
    assert (await router.post("/v1/chat/completions", ASK | {"model": "acme/beta"})).status == 200

    assert await names(router, sort=sort) == ["beta", "alpha", "delta", "gamma", "painter"]


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_without_paging_the_list_is_whole(router: Running) -> None:
    listed = await body(router)

    assert (listed["has_more"], listed["links"]) == (False, {"next": None})
    assert listed["total_count"] == len(listed["data"]) > len(TEXT)


async def test_pages_by_number(router: Running) -> None:
    first = await body(router, "/api/v1/models", model_authors="acme", sort="pricing-low-to-high", limit="2")
    second = await body(router, first["links"]["next"])
    last = await body(router, second["links"]["next"])
    beyond = await body(router, offset="1000", limit="5")

    pages = [[each["id"].removeprefix("acme/") for each in page["data"]] for page in (first, second, last)]
    assert pages == [["gamma", "alpha"], ["beta", "painter"], ["delta"]]
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert [page["total_count"] for page in (first, second, last)] == [5, 5, 5]
    assert first["links"]["next"] == "/api/v1/models?model_authors=acme&sort=pricing-low-to-high&offset=2&limit=2"
    assert last["links"]["next"] is None
    assert (beyond["data"], beyond["has_more"], beyond["first_id"], beyond["last_id"]) == ([], False, None, None)


async def test_pages_by_id(router: Running) -> None:
    after = await body(router, model_authors="acme", after_id="acme/beta", limit="2")
    end = await body(router, model_authors="acme", after_id="acme/gamma", limit="2")
    before = await body(router, model_authors="acme", before_id="acme/painter", limit="2")
    start = await body(router, model_authors="acme", before_id="acme/beta", limit="2")

    assert (after["first_id"], after["last_id"], after["has_more"]) == ("acme/delta", "acme/gamma", True)
    assert (end["first_id"], end["last_id"], end["has_more"]) == ("acme/painter", "acme/painter", False)
    assert (before["first_id"], before["last_id"], before["has_more"]) == ("acme/delta", "acme/gamma", True)
    assert (start["first_id"], start["last_id"], start["has_more"]) == ("acme/alpha", "acme/alpha", False)


async def test_a_link_repeats_no_key(router: Running) -> None:
    """A client may send its key in the query and in a header."""
    listed = await body(router, key=router.key, limit="1", secret="x")

    assert listed["links"]["next"] == "/v1/models?offset=1&limit=1"


async def test_vectors_have_pages_too(router: Running) -> None:
    path = "/api/v1/embeddings/models"

    whole = [each["id"] for each in (await body(router, path))["data"]]
    page = await body(router, path, offset="1", limit="2", output_modalities="text")

    assert {"acme/reader", "openai/text-embedding-3-small"} < set(whole)
    assert "acme/alpha" not in whole
    assert [each["id"] for each in page["data"]] == whole[1:3]
    assert page["total_count"] == len(whole)


async def test_the_list_follows_the_table(router: Running) -> None:
    """What an upstream starts or ceases to list is seen at the next request, although the list is kept ready."""
    provider, table = router.server.providers["fake"], router.server.table
    before = await body(router)
    entry = before["data"][0]

    table.discovered(provider, [provider.unknown("fresh")])
    fresh = await body(router)
    table.discovered(provider, [])
    after = await body(router)

    assert "fake/fresh" in [each["id"] for each in fresh["data"]]
    assert after == before
    assert entry in fresh["data"]


# --- the feed --------------------------------------------------------------------------------------------------------


async def test_the_list_as_a_feed(router: Running) -> None:
    answer = await router.get("/api/v1/models?use_rss=true&provider=acme,openai&sort=newest&limit=1000")
    root = ElementTree.fromstring(await answer.text())
    items = {item.findtext("guid"): item for item in root.iterfind("channel/item")}

    assert (answer.status, answer.content_type) == (200, "application/rss+xml")
    assert (root.tag, root.get("version")) == ("rss", "2.0")
    assert items["acme/beta"].findtext("description") == "Writes Bash & <Perl>."
    assert items["acme/beta"].findtext("link") == f"{router.url}/api/v1/models/acme/beta"
    assert items["acme/delta"].findtext("title") == "Δelta"
    assert (items["openai/gpt-4.1"].findtext("pubDate") or "").endswith(" GMT")


async def test_a_feed_holds_only_what_xml_may(start: Start, upstream: FakeUpstream) -> None:
    hostile = {"acme/x": model(name="\0 ]]> \x07 \x1b[31m", description="<script>&amp;</script>\ufffe")}
    router = await start(**tables(upstream.url) | {"models": hostile})

    answer = await router.get("/v1/models?use_rss=1&provider=acme")

    (item,) = ElementTree.fromstring(await answer.text()).iterfind("channel/item")
    assert item.findtext("title") == "\ufffd ]]> \ufffd \ufffd[31m"
    assert item.findtext("description") == "<script>&amp;</script>\ufffd"


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server of a router that has stopped: its table is still there to be asked."""

    async def stopped() -> Server:
        async with running(Settings(**tables("http://127.0.0.1:9")), tmp_path_factory.mktemp("laws")) as router:
            return router.server

    return asyncio.run(stopped())


FILTER = st.sampled_from(
    [
        ("supported_parameters", "tools"),
        ("output_modalities", "all"),
        ("output_modalities", "embeddings,image"),
        ("input_modalities", "image"),
        ("provider", "acme,openai"),
        ("provider", "echo"),
        ("category", "text"),
        ("q", "a"),
        ("free", "true"),
        ("min_context", "100000"),
        ("capability", "vision"),
        ("max_price", "2"),
        ("min_output_price", "1"),
        ("zdr", "true"),
    ]
)
ORDER = st.sampled_from(["", "newest", "pricing-low-to-high", "pricing-high-to-low", "context-high-to-low"])


def ids(rows: list[Row]) -> list[str]:
    return [row.id for row in rows]


@given(filters=st.lists(FILTER, max_size=3, unique_by=lambda each: each[0]), sort=ORDER, limit=st.integers(1, 60))
@settings(deadline=None)
def test_all_pages_together_are_the_list(server: Server, filters: list[tuple[str, str]], sort: str, limit: int) -> None:
    query = MultiDict([*filters, ("sort", sort)])
    rows = asyncio.run(selected(server, query))

    for direction in ("offset", "after_id", "before_id"):
        pages: list[list[str]] = []
        place = "0"
        if direction != "offset":
            if not rows:
                continue
            place = rows[0 if direction == "after_id" else -1].id
        more = True
        while more:
            page = paged(rows, MultiDict([*query.items(), (direction, place), ("limit", str(limit))]), "/models")
            assert page.total == len(rows)
            assert len(page.rows) == limit or not page.more
            assert (page.next is None) is not page.more
            pages.append(ids(page.rows))
            more = page.more
            place = {"offset": str(len(pages) * limit), "after_id": page.rows[-1].id if page.rows else ""}.get(
                direction, page.rows[0].id if page.rows else ""
            )
        if direction == "before_id":
            pages.reverse()
        expected = {"offset": rows, "after_id": rows[1:], "before_id": rows[:-1]}[direction]
        assert [id for page in pages for id in page] == ids(expected)


@given(one=FILTER, other=FILTER, sort=ORDER)
@settings(deadline=None)
def test_filters_are_independent_of_each_other(
    server: Server, one: tuple[str, str], other: tuple[str, str], sort: str
) -> None:
    """Each keeps what it keeps alone, whatever else is asked and in whatever order."""
    if one[0] == other[0]:
        return
    # Who names no outputs asks for text: named, so that the single queries ask for the same.
    default = [] if "output_modalities" in (one[0], other[0]) else [("output_modalities", "text")]
    outputs = [each for each in (one, other) if each[0] == "output_modalities"] or default

    def ask(*filters: tuple[str, str]) -> list[str]:
        return ids(asyncio.run(selected(server, MultiDict([*dict.fromkeys([*filters, *outputs]), ("sort", sort)]))))

    both = ask(one, other)
    assert both == ask(other, one)
    assert both == [id for id in ask(one) if id in set(ask(other))]
