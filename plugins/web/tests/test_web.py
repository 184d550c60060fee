"""The plugin in a running router: pages and results in front of the question, sources in the answer, on every surface."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from router import Attempt, Call, hookimpl
from router.settings import EndpointSettings, FetchSettings, ModelSettings, PriceSettings, SettingsError
from router.testing import FakeUpstream, Running, completion, json_answer, sse_answer

Start = Callable[..., Awaitable[Running]]
PAGES = {
    "/glomma": "<html><head><title>Glomma</title></head><body><p>It is 621 km long.</p></body></html>",
    "/drammen": "<html><head><title>Drammen</title></head><body><p>It is 301 km long.</p></body></html>",
}
KEY = "search-key"


class Net:
    """One server that is the model, the web and the search engines."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.fake = upstream
        self.says = "It is long."
        self.engine_status = 200
        self.results = ["/glomma", "/drammen", "/nowhere"]
        upstream.will(self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/chat/completions"):
            body = self.fake.asked[-1].body
            return await self._stream(request) if body.get("stream") else web.json_response(self._answer())
        if request.path in PAGES:
            return web.Response(text=PAGES[request.path], content_type="text/html")
        if request.path.endswith("/search"):
            rows = [
                {"url": self.fake.url + path, "title": f"about {path}", "content": "a quote", "description": "a quote"}
                for path in self.results
            ]
            return web.json_response({"results": rows, "web": {"results": rows}}, status=self.engine_status)
        return web.Response(status=404)

    def _answer(self) -> dict[str, Any]:
        return completion(self.says, tokens=(100, 10))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = self._answer()
        base = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        deltas = [{"role": "assistant", "content": ""}, *({"content": letter} for letter in self.says)]
        chunks = [base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append(base | {"choices": [], "usage": answer["usage"]})
        frames = [b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
        return await sse_answer(frames)(request)

    @property
    def prompted(self) -> list[str]:
        """What the model was asked in its last user message, part by part."""
        asked = [each.body for each in self.fake.asked if each.path.endswith("/chat/completions")][-1]
        content = asked["messages"][-1]["content"]
        return [content] if isinstance(content, str) else [part["text"] for part in content]

    @property
    def paths(self) -> list[str]:
        return [each.path.partition("?")[0] for each in self.fake.asked]


@pytest.fixture
def net(upstream: FakeUpstream) -> Net:
    return Net(upstream)


async def started(
    start: Start, net: Net, *, private: bool = True, plugins: dict[str, object] | None = None, **table: Any
) -> Running:
    if "engine" in table:
        table.setdefault("base_url", net.fake.url)
    price = PriceSettings(prompt="0.000001", completion="0.000001", web_search="1")
    return await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": net.fake.url + "/v1", "api_key": "k"}},
        models={"fake/m": ModelSettings(endpoints=[EndpointSettings(provider="fake", model="m")], pricing=price)},
        plugins=plugins,
        plugin_tables={"web": table},
        fetch=FetchSettings(allow_private=private),
    )


def ask(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "fake/m", "messages": [{"role": "user", "content": text}], "plugins": [{"id": "web"}], **members}


async def test_a_page_that_the_message_names_stands_in_front_of_it(start: Start, net: Net) -> None:
    router = await started(start, net)
    url = net.fake.url + "/glomma"

    answer = await router.post("/v1/chat/completions", ask(f"How long is it, by {url}?"))

    told = await answer.json()
    front, question = net.prompted
    assert answer.status == 200
    assert f'<source number="1" url="{url}" title="Glomma">\nIt is 621 km long.\n</source>' in front
    assert question == f"How long is it, by {url}?"
    (note,) = told["choices"][0]["message"]["annotations"]
    assert note["type"] == "url_citation"
    assert (note["url_citation"]["url"], note["url_citation"]["title"]) == (url, "Glomma")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_guardrail_looks_through_pages_and_what_is_cited_of_them(start: Start, net: Net, stream: bool) -> None:
    router = await started(start, net)
    keys = {"keys": [identity.hash for identity in await router.server.keys.list()]}
    rules = {"name": "g", "content_filters": [{"pattern": "621 km|Glomma", "action": "redact"}]}
    made = await (await router.post("/v1/guardrails", rules, key=router.management)).json()
    await router.post(f"/v1/guardrails/{made['data']['id']}/keys", keys, key=router.management)
    url = net.fake.url + "/glomma"
    net.says = f"It is long [there]({url})."

    answer = await router.post("/v1/chat/completions", ask(f"How long is it, by {url}?", stream=stream))

    told = await answer.text()
    assert answer.status == 200
    assert 'title="[REDACTED]">\nIt is [REDACTED] long.' in net.prompted[0]
    assert "url_citation" in told
    assert "[REDACTED]" in told
    assert ("621 km" in told, "Glomma" in told) == (False, False)


async def test_the_sdk_sees_where_the_answer_cites(start: Start, net: Net) -> None:
    router = await started(start, net)
    url = net.fake.url + "/glomma"
    net.says = f"It is [621 km]({url}) long."

    async with AsyncOpenAI(api_key=router.key, base_url=router.url + "/v1", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="fake/m", messages=[{"role": "user", "content": url}], extra_body={"plugins": [{"id": "web"}]}
        )

    assert answer.choices[0].message.annotations
    cited = answer.choices[0].message.annotations[0].url_citation
    assert net.says[cited.start_index : cited.end_index] == f"[621 km]({url})"


async def test_the_sdk_sees_it_in_a_stream(start: Start, net: Net) -> None:
    router = await started(start, net)
    url = net.fake.url + "/glomma"
    net.says = f"By {url}"
    text, notes = "", []

    async with AsyncOpenAI(api_key=router.key, base_url=router.url + "/v1", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="fake/m",
            messages=[{"role": "user", "content": url}],
            stream=True,
            extra_body={"plugins": [{"id": "web"}]},
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                notes += getattr(choice.delta, "annotations", None) or []

    assert text == net.says
    assert [each["url_citation"]["start_index"] for each in notes] == [3]


SURFACES = {
    "responses": ("/v1/responses", lambda text: {"model": "fake/m", "input": text}),
    "messages": (
        "/v1/messages",
        lambda text: {"model": "fake/m", "max_tokens": 50, "messages": [{"role": "user", "content": text}]},
    ),
    "gemini": (
        "/v1beta/models/fake/m:generateContent",
        lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
    ),
    "completions": ("/v1/completions", lambda text: {"model": "fake/m", "prompt": text}),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_every_surface(start: Start, net: Net, surface: str, stream: bool) -> None:
    router = await started(start, net)
    path, body = SURFACES[surface]
    url = net.fake.url + "/glomma"
    asked = body(url) | {"stream": stream, "plugins": [{"id": "web"}]}
    if surface == "gemini":
        asked = body(url) | {"routerConfig": {"plugins": [{"id": "web"}]}}
        path = path.replace("generateContent", "streamGenerateContent?alt=sse") if stream else path

    answer = await router.post(path, asked)

    assert answer.status == 200
    assert "It is 621 km long." in "".join(net.prompted)
    if surface != "completions":  # it has no place for sources
        assert (await answer.text()).count(url) >= 1


async def test_the_variant_asks_for_it(start: Start, net: Net) -> None:
    router = await started(start, net)

    answer = await router.post("/v1/chat/completions", ask(net.fake.url + "/glomma", model="fake/m:online", plugins=[]))

    assert answer.status == 200
    assert "621" in net.prompted[0]


async def test_without_asking_nothing_is_read(start: Start, net: Net) -> None:
    router = await started(start, net)

    await router.post("/v1/chat/completions", ask(net.fake.url + "/glomma", plugins=[{"id": "web", "enabled": False}]))

    assert net.paths == ["/v1/chat/completions"]


async def test_addresses_inside_are_not_read(start: Start, net: Net) -> None:
    router = await started(start, net, private=False)

    answer = await router.post("/v1/chat/completions", ask(f"{net.fake.url}/glomma and http://localhost:1/"))

    assert answer.status == 200
    assert net.paths == ["/v1/chat/completions"]
    assert net.prompted[0].count("could not be read: ") == 2


async def test_a_page_that_cannot_be_read_says_why(start: Start, net: Net) -> None:
    router = await started(start, net)

    answer = await router.post("/v1/chat/completions", ask(net.fake.url + "/nowhere"))

    assert answer.status == 200
    assert "could not be read: cannot be fetched: the server answered 404" in net.prompted[0]
    assert (await answer.json())["choices"][0]["message"].get("annotations") == []


async def test_the_number_of_pages_and_their_length_are_bounded(start: Start, net: Net) -> None:
    router = await started(start, net, max_pages=1, page_chars=200)
    net.fake.will(net.handle)
    PAGES["/long"] = f"<p>{'long ' * 1000}</p>"

    await router.post("/v1/chat/completions", ask(" ".join(net.fake.url + path for path in ("/long", "/glomma"))))

    assert net.paths == ["/long", "/v1/chat/completions"]
    assert len(net.prompted[0]) < 1000


async def test_a_search_without_an_engine_is_not_set_up(start: Start, net: Net) -> None:
    router = await started(start, net)

    answer = await router.post("/v1/chat/completions", ask("How long is the Glomma?"))

    error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (501, "not_configured", "plugins")
    assert "[plugins.web] engine" in error["message"]
    assert not net.fake.asked


@pytest.mark.parametrize(
    ("engine", "header", "value", "path"),
    [
        ("searxng", "Authorization", f"Bearer {KEY}", "/search?q=How+long+is+it?&format=json"),
        ("brave", "X-Subscription-Token", KEY, "/res/v1/web/search?q=How+long+is+it?&count=2&result_filter=web"),
        ("tavily", "Authorization", f"Bearer {KEY}", "/search"),
    ],
)
async def test_a_search(start: Start, net: Net, engine: str, header: str, value: str, path: str) -> None:
    router = await started(start, net, engine=engine, api_key=KEY, read_results=1, max_results=2)

    answer = await router.post("/v1/chat/completions", ask("How long is it?"))

    searched = net.fake.asked[0]
    notes = (await answer.json())["choices"][0]["message"]["annotations"]
    assert answer.status == 200
    assert (searched.path.replace("%3F", "?"), searched.headers[header]) == (path, value)
    assert engine != "tavily" or searched.body == {"query": "How long is it?", "max_results": 2}
    assert net.paths[1:] == ["/glomma", "/v1/chat/completions"]
    assert [each["url_citation"]["content"] for each in notes] == ["It is 621 km long.", "a quote"]
    assert [KEY in str(each.headers) + each.path for each in net.fake.asked] == [True, False, False]


async def test_what_a_request_says_of_its_search(start: Start, net: Net) -> None:
    router = await started(start, net, engine="searxng", read_results=0)
    net.results = ["/glomma", "/drammen", "/glomma", "/other"]
    host = net.fake.url.partition("://")[2].partition(":")[0]
    wanted = {
        "id": "web",
        "max_results": 1,
        "search_prompt": "Read on {date}:",
        "include_domains": [f"{host}/dr", f"{host}/ot"],
    }

    await router.post("/v1/chat/completions", ask("rivers", plugins=[wanted]))

    assert net.prompted[0].startswith("Read on 20")
    assert net.prompted[0].count("<source") == 1
    assert "/drammen" in net.prompted[0]


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"engine": "exa"}, 501, "not_configured"),
        ({"engine": "native"}, 501, "not_configured"),
        ({"engine": "guess"}, 400, "invalid_request"),
        ({"max_results": 0}, 400, "invalid_request"),
        ({"max_results": "5"}, 400, "invalid_request"),
        ({"include_domains": "a"}, 400, "invalid_request"),
    ],
    ids=str,
)
async def test_what_a_request_cannot_have(
    start: Start, net: Net, wanted: dict[str, Any], status: int, code: str
) -> None:
    router = await started(start, net, engine="searxng")

    answer = await router.post("/v1/chat/completions", ask("rivers", plugins=[{"id": "web", **wanted}]))

    error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (status, code, "plugins")
    assert not net.fake.asked


@pytest.mark.parametrize(("status", "hint"), [(403, "settings.yml"), (500, "answered 500"), (302, "answered 302")])
async def test_an_engine_that_fails_is_told(start: Start, net: Net, status: int, hint: str) -> None:
    router = await started(start, net, engine="searxng", api_key=KEY)
    net.engine_status = status

    answer = await router.post("/v1/chat/completions", ask("rivers"))

    assert answer.status == 502
    assert hint in (text := await answer.text())
    assert KEY not in text
    assert net.paths == ["/search"]


async def test_searches_are_counted_and_cost_what_the_operator_says(start: Start, net: Net) -> None:
    router = await started(start, net, engine="searxng", price_per_search="0.005")

    answer = await router.post("/v1/chat/completions", ask("rivers"))

    record = await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")
    data = (await record.json())["data"]
    # Not the dollar that the model's own provider would take for a search.
    assert (data["num_search_results"], data["total_cost"]) == (1, pytest.approx(0.00511))


class Watch:
    """Keeps the calls that were answered."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @hookimpl
    def router_attempted(self, call: Call, attempt: Attempt) -> None:
        self.calls.append(call)


async def test_the_plugin_says_what_it_did(start: Start, net: Net) -> None:
    watch = Watch()
    router = await started(start, net, plugins={"watch": watch})

    await router.post("/v1/chat/completions", ask(f"{net.fake.url}/glomma {net.fake.url}/nowhere"))

    (entry,) = watch.calls[0].pipeline
    assert (entry["type"], entry["name"], entry["summary"]) == ("plugin", "web", "1 pages read")
    assert entry["data"]["urls"] == [net.fake.url + "/glomma"]
    assert list(entry["data"]["failed"]) == [net.fake.url + "/nowhere"]


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"engine": "searxng"}, "base_url"),
        ({"engine": "brave"}, "api_key"),
        ({"engine": "bing"}, "engine"),
        ({"price_per_search": "free"}, "price_per_search"),
        ({"pages": 1}, "pages"),
    ],
    ids=str,
)
async def test_a_wrong_setting_stops_the_start(start: Start, table: dict[str, Any], path: str) -> None:
    with pytest.raises(SettingsError, match=rf"plugins\.web.*{path}"):
        await start(providers={}, plugin_tables={"web": table})


async def test_pages_are_read_at_the_same_time(start: Start, net: Net) -> None:
    router = await started(start, net)
    waiting = asyncio.Barrier(2)
    handle = net.handle

    async def together(request: web.Request) -> web.StreamResponse:
        if request.path in PAGES:
            async with asyncio.timeout(10):
                await waiting.wait()
        return await handle(request)

    net.fake.will(together)
    answer = await router.post("/v1/chat/completions", ask(f"{net.fake.url}/glomma {net.fake.url}/drammen"))

    assert answer.status == 200
    assert "621" in net.prompted[0]
    assert "301" in net.prompted[0]


ANTHROPIC = {"city": "Oslo", "type": "approximate"}
NATIVE = {
    "anthropic": (
        "claude-sonnet-4-5",
        {"include_domains": ["a.example"], "max_uses": 2, "user_location": ANTHROPIC},
        lambda body: body["tools"],
        [
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 2,
                "allowed_domains": ["a.example"],
                "user_location": {"type": "approximate", "city": "Oslo"},
            }
        ],
    ),
    "gemini": ("gemini-2.5-flash", {}, lambda body: body["tools"], [{"googleSearch": {}}]),
    "openai": (
        "gpt-4o-search-preview",
        {"user_location": {"country": "NO"}},
        lambda body: body["web_search_options"],
        {"user_location": {"type": "approximate", "approximate": {"country": "NO"}}},
    ),
    "openrouter": (
        "some/model",
        {"exclude_domains": ["b.example"]},
        lambda body: body["plugins"],
        [{"id": "web", "exclude_domains": ["b.example"]}],
    ),
}


@pytest.mark.parametrize("plugin", NATIVE)
@pytest.mark.parametrize("engine", [None, "native"], ids=["nothing else there", "asked for"])
async def test_a_provider_that_searches_itself_is_left_to(
    start: Start, upstream: FakeUpstream, plugin: str, engine: str | None
) -> None:
    upstream.will(json_answer({}, status=400))
    model, wanted, sent, expected = NATIVE[plugin]
    router = await start(
        providers={"up": {"plugin": plugin, "base_url": upstream.url, "api_key": "k", "unknown_models": True}},
        plugin_tables={"web": {}},
    )

    await router.post(
        "/v1/chat/completions", ask("news?", model=f"up/{model}", plugins=[{"id": "web", "engine": engine, **wanted}])
    )

    assert len(upstream.asked) == 1
    assert sent(upstream.asked[0].body) == expected


async def test_only_providers_that_search_are_asked(start: Start, upstream: FakeUpstream) -> None:
    upstream.will(json_answer({}, status=400))
    common = {"base_url": upstream.url, "api_key": "k", "unknown_models": True}
    endpoints = [
        EndpointSettings(provider="plain", model="m", priority=1),
        EndpointSettings(provider="claude", model="claude-sonnet-4-5"),
    ]
    router = await start(
        providers={"plain": {"plugin": "openai-compatible", **common}, "claude": {"plugin": "anthropic", **common}},
        models={"own/m": ModelSettings(endpoints=endpoints)},
        plugin_tables={"web": {"engine": "native"}},
    )

    await router.post("/v1/chat/completions", ask("news?", model="own/m:online", plugins=[]))

    assert [each.path for each in upstream.asked] == ["/v1/messages"]


async def test_a_provider_that_does_not_search_is_not_told_to(start: Start, net: Net) -> None:
    router = await started(start, net, engine="native")

    answer = await router.post("/v1/chat/completions", ask("news?"))

    assert (answer.status, (await answer.json())["error"]["code"]) == (501, "not_configured")
    assert not net.fake.asked


@pytest.mark.parametrize(
    ("text", "summary"), [("{url}/glomma", "1 pages would be read"), ("?", "a search would be made")]
)
async def test_a_dry_run_reads_nothing_and_says_what_would_be(start: Start, net: Net, text: str, summary: str) -> None:
    router = await started(start, net, engine="searxng")

    body = ask(text.format(url=net.fake.url))
    answer = await router.post("/v1/chat/completions", body, headers={"X-Router-Dry-Run": "1"})

    told = [each["summary"] for each in (await answer.json())["policy"] if each["step"] == "plugin"]
    assert (answer.status, told) == (200, [summary])
    assert not net.paths
