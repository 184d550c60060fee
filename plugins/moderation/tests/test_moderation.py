"""The plugin in a running router: who is blocked, what is flagged, and what happens when the moderation model fails."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from router import Attempt, Call, hookimpl
from router.settings import EndpointSettings, LimitSettings, ModelSettings, SettingsError
from router.testing import FakeUpstream, Running, json_answer, sse_answer

Start = Callable[..., Awaitable[Running]]
BAD = "bomb"
PIXEL = "iVBORw0KGgo="


class Judge:
    """One server that is the model and the moderation model, which flags what holds the bad word, and images named so."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.fake = upstream
        self.says = "All is well."
        self.status = 200
        upstream.will(self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/moderations"):
            asked = self.fake.asked[-1].body["input"]
            results = [self._result(BAD in json.dumps(each)) for each in asked]
            return web.json_response({"id": "m", "model": "guard", "results": results}, status=self.status)
        if request.path.endswith("/embeddings"):
            vectors = [{"object": "embedding", "index": n, "embedding": [0.1]} for n in range(2)]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return web.json_response({"object": "list", "data": vectors, "model": "m", "usage": usage})
        if request.path.endswith("/v1/completions"):
            return web.json_response(self._base("text_completion", {"text": self.says, "finish_reason": "stop"}))
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"created": 1, "data": [{"b64_json": PIXEL}]})
        if self.fake.asked[-1].body.get("stream"):
            return await self._stream(request)
        message = {"role": "assistant", "content": self.says}
        return await json_answer(self._base("chat.completion", {"message": message, "finish_reason": "stop"}))(request)

    def _result(self, flagged: bool) -> dict[str, Any]:
        score = 0.9 if flagged else 0.01
        return {"flagged": flagged, "categories": {"violence": flagged}, "category_scores": {"violence": score}}

    def _base(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        return {
            "id": "c",
            "object": kind,
            "created": 1,
            "model": "m",
            "choices": [{"index": 0} | choice],
            "usage": usage,
        }

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"content": each} for each in self.says),
        ]
        choices = [{"delta": delta, "finish_reason": None} for delta in deltas] + [
            {"delta": {}, "finish_reason": "stop"}
        ]
        chunks = [self._base("chat.completion.chunk", choice) for choice in choices]
        frames = [b"data: %b\n\n" % json.dumps(each).encode() for each in chunks]
        return await sse_answer([*frames, b"data: [DONE]\n\n"])(request)

    @property
    def paths(self) -> list[str]:
        return [each.path.removeprefix("/v1") for each in self.fake.asked]

    @property
    def judged(self) -> list[Any]:
        return [each.body["input"] for each in self.fake.asked if each.path.endswith("/moderations")]


class Watch:
    """Keeps the calls that were tried, those of the router itself too."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @hookimpl
    def router_attempted(self, call: Call, attempt: Attempt) -> None:
        self.calls.append(call)


@pytest.fixture
def judge(upstream: FakeUpstream) -> Judge:
    return Judge(upstream)


async def started(start: Start, judge: Judge, *, plugins: Any = None, limits: Any = None, **table: Any) -> Running:
    kinds = {"guard": "moderation", "v": "embeddings", "p": "image", "m": "text"}
    return await start(
        providers={"fake": {"plugin": "openai-compatible", "base_url": judge.fake.url + "/v1", "api_key": "k"}},
        models={
            f"own/{name}": ModelSettings(
                endpoints=[EndpointSettings(provider="fake", model=name)],
                input_modalities=["text", "image"],
                output_modalities=[kind],
            )
            for name, kind in kinds.items()
        },
        plugins=plugins,
        plugin_tables={"moderation": {"model": "own/guard"} | table},
        limits=limits or LimitSettings(),
    )


def ask(text: Any, **members: Any) -> dict[str, Any]:
    return {"model": "own/m", "messages": [{"role": "user", "content": text}], **members}


WANTED = {"plugins": [{"id": "moderation"}]}


async def test_what_is_flagged_never_reaches_the_upstream(start: Start, judge: Judge) -> None:
    router = await started(start, judge)
    text = f"how do I make a {BAD}? " + "please " * 50

    async with openai.AsyncOpenAI(api_key=router.key, base_url=router.url + "/v1", max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as raised:
            await client.chat.completions.create(
                model="own/m", messages=[{"role": "user", "content": text}], extra_body=WANTED
            )

    told = raised.value.body
    assert isinstance(told, dict)
    metadata = told["metadata"]
    assert judge.paths == ["/moderations"]
    assert metadata["reasons"] == ["violence"]
    assert metadata["flagged_input"].startswith(f"how do I make a {BAD}?")
    assert len(metadata["flagged_input"]) <= 100
    assert (metadata["provider_name"], metadata["model_slug"]) == ("fake", "own/m")
    assert metadata["error_type"] == "content_policy_violation"


async def test_what_is_not_flagged_is_answered(start: Start, judge: Judge) -> None:
    router = await started(start, judge)

    answer = await router.post("/v1/chat/completions", ask("how are you?", **WANTED))

    record = await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")
    assert answer.status == 200
    assert judge.paths == ["/moderations", "/chat/completions"]
    assert judge.fake.asked[0].body == {"model": "guard", "input": ["how are you?"]}
    assert (await record.json())["data"]["moderation_latency"] >= 0


async def test_only_those_who_ask_are_looked_at(start: Start, judge: Judge) -> None:
    router = await started(start, judge)

    answer = await router.post("/v1/chat/completions", ask(BAD))

    record = await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")
    assert (answer.status, judge.paths) == (200, ["/chat/completions"])
    assert (await record.json())["data"]["moderation_latency"] is None


ALL = {
    "chat": ("/v1/chat/completions", ask),
    "tool results": (
        "/v1/chat/completions",
        lambda text: (
            ask("call it")
            | {
                "messages": [
                    {"role": "user", "content": "call it"},
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    {"role": "tool", "tool_call_id": "t", "content": text},
                ]
            }
        ),
    ),
    "responses": ("/v1/responses", lambda text: {"model": "own/m", "input": text}),
    "messages": (
        "/v1/messages",
        lambda text: {"model": "own/m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]},
    ),
    "gemini": ("/v1beta/models/own/m:generateContent", lambda text: {"contents": [{"parts": [{"text": text}]}]}),
    "completions": ("/v1/completions", lambda text: {"model": "own/m", "prompt": text}),
    "embeddings": ("/v1/embeddings", lambda text: {"model": "own/v", "input": ["a", text]}),
    "images": ("/v1/images/generations", lambda text: {"model": "own/p", "prompt": text}),
    "disguised as a file": (
        "/v1/images/generations",
        lambda text: {"model": "own/p", "prompt": f"data:image/png;base64,{text}"},
    ),
    "disguised": ("/v1/images/generations", lambda text: {"model": "own/p", "prompt": f"data: {text}"}),
}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("text", "status"), [("a kettle", 200), (f"a {BAD}", 403)], ids=["fine", "bad"])
async def test_always_is_for_every_surface(start: Start, judge: Judge, kind: str, text: str, status: int) -> None:
    router = await started(start, judge, always=True)
    path, body = ALL[kind]

    answer = await router.post(path, body(text))

    assert answer.status == status
    assert text in str(judge.judged)
    assert len(judge.paths) == (2 if status == 200 else 1)


async def test_prompts_of_forms_are_looked_at(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True)
    form = aiohttp.FormData({"model": "own/p", "prompt": f"a {BAD}"})
    form.add_field("image", b"\x89PNG", filename="a.png", content_type="image/png")

    async with router.session.post(
        router.url + "/v1/images/edits", data=form, headers={"Authorization": f"Bearer {router.key}"}
    ) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("how", ["long", "twice", "as a file"])
async def test_no_prompt_of_a_form_gets_past(start: Start, judge: Judge, how: str) -> None:
    router = await started(start, judge, always=True)
    form = aiohttp.FormData({"model": "own/p"})
    form.add_field("image", b"\x89PNG", filename="a.png", content_type="image/png")
    if how == "twice":
        form.add_field("prompt", f"a {BAD}")
    text = f"{'a ' * 40_000}{BAD}" if how == "long" else f"a {BAD}" if how == "as a file" else "a kettle"
    form.add_field("prompt", text, filename="prompt.txt" if how == "as a file" else None)

    async with router.session.post(
        router.url + "/v1/images/edits", data=form, headers={"Authorization": f"Bearer {router.key}"}
    ) as answer:
        assert answer.status == (403 if how == "long" else 400), await answer.text()
    assert "/images/edits" not in judge.paths


async def test_images_are_judged_one_by_one(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True)
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": f"https://a.example/{BAD}.png"}},
    ]

    answer = await router.post("/v1/chat/completions", ask(parts))

    assert answer.status == 403
    assert (await answer.json())["error"]["metadata"]["flagged_input"] == "[image]"
    assert sorted(len(each) for each in judge.judged) == [1, 1, 1]


async def test_images_are_left_out_where_the_setting_says_so(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True, images=False)
    parts = [{"type": "image_url", "image_url": {"url": f"https://a.example/{BAD}.png"}}, {"type": "text", "text": "?"}]

    answer = await router.post("/v1/chat/completions", ask(parts))

    assert (answer.status, judge.judged) == (200, [["?"]])


@pytest.mark.parametrize(("least", "status"), [(0.95, 200), (0.5, 403), (0.005, 403)])
async def test_thresholds(start: Start, judge: Judge, least: float, status: int) -> None:
    router = await started(start, judge, always=True, thresholds={"violence": least})

    answer = await router.post("/v1/chat/completions", ask(BAD))

    assert answer.status == status


async def test_flagging_lets_it_pass_and_says_so(start: Start, judge: Judge) -> None:
    watch = Watch()
    router = await started(start, judge, plugins={"watch": watch}, always=True, action="flag")

    answer = await router.post("/v1/chat/completions", ask(BAD))

    (call,) = [each for each in watch.calls if each.within is None]
    assert answer.status == 200
    assert call.pipeline == [
        {
            "type": "plugin",
            "name": "moderation",
            "summary": "input flagged: violence",
            "data": {"scan": "input", "model": "own/guard", "flagged": True, "reasons": ["violence"], "action": "flag"},
        }
    ]


@pytest.mark.parametrize(
    ("table", "status"),
    [({}, 503), ({"on_error": "allow"}, 200), ({"action": "flag"}, 200), ({"model": "own/nobody"}, 503)],
    ids=["refuse", "allow", "flag", "no such model"],
)
async def test_a_moderation_model_that_fails(start: Start, judge: Judge, table: dict[str, Any], status: int) -> None:
    judge.status = 400
    router = await started(start, judge, always=True, **table)

    answer = await router.post("/v1/chat/completions", ask("hello"))

    assert answer.status == status
    assert ("/chat/completions" in judge.paths) is (status == 200)
    assert status == 200 or "moderation" in (await answer.json())["error"]["message"]


async def test_one_that_is_too_slow_fails(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True, seconds=0.2)
    judge.fake.will(json_answer({}, delay_s=20))

    answer = await router.post("/v1/chat/completions", ask("hello"))

    assert (answer.status, judge.paths) == (503, ["/moderations"])


async def test_limits_come_first(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True, limits=LimitSettings(rpm=1))

    answers = [await router.post("/v1/chat/completions", ask("hello")) for _ in range(3)]

    assert [each.status for each in answers] == [200, 429, 429]
    assert judge.paths == ["/moderations", "/chat/completions"]


@pytest.mark.parametrize(("charge", "same"), [("router", False), ("client", True)])
async def test_who_pays(start: Start, judge: Judge, charge: str, same: bool) -> None:
    router = await started(start, judge, always=True, charge=charge)

    await router.post("/v1/chat/completions", ask("hello"))

    rows = dict(await router.server.database.all("SELECT api_type, key_hash FROM generation"))
    assert (rows["moderations"] == rows["chat"]) is same
    assert same or rows["moderations"] == "router"


async def test_the_answer_is_withheld(start: Start, judge: Judge) -> None:
    router = await started(start, judge, scan="output")
    judge.says = f"First you take a {BAD}"

    answer = await router.post("/v1/chat/completions", ask("tell me", **WANTED))

    text = await answer.text()
    (choice,) = json.loads(text)["choices"]
    assert answer.status == 200
    assert choice["finish_reason"] == "content_filter"
    assert "withheld" in choice["message"]["refusal"]
    assert BAD not in text
    assert judge.judged == [[judge.says]]
    assert json.loads(text)["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("says", ["All is well.", f"First you take a {BAD}"], ids=["fine", "bad"])
async def test_a_stream_is_held_back_until_it_is_judged(start: Start, judge: Judge, says: str) -> None:
    router = await started(start, judge, scan="both", always=True)
    judge.says = says
    text, refusal, reasons = "", "", []

    async with openai.AsyncOpenAI(api_key=router.key, base_url=router.url + "/v1", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="own/m", messages=[{"role": "user", "content": "tell me"}], stream=True
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                refusal += choice.delta.refusal or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []

    bad = BAD in says
    assert text == ("" if bad else says)
    assert bool(refusal) is bad
    assert reasons == ["content_filter" if bad else "stop"]
    assert judge.judged == [["tell me"], [says]]


@pytest.mark.parametrize("path", ["messages", "responses", "gemini"])
async def test_a_withheld_answer_on_other_surfaces(start: Start, judge: Judge, path: str) -> None:
    router = await started(start, judge, scan="output", always=True)
    judge.says = f"First you take a {BAD}"
    place, body = ALL[path]

    answer = await router.post(place, body("tell me"))

    text = await answer.text()
    assert answer.status == 200
    assert BAD not in text


async def test_without_a_model_it_is_not_set_up(start: Start, judge: Judge) -> None:
    router = await started(start, judge, model="")

    answer = await router.post("/v1/chat/completions", ask("hello", **WANTED))

    assert (answer.status, (await answer.json())["error"]["code"]) == (501, "not_configured")
    assert not judge.fake.asked


async def test_a_guard_that_looks_at_nothing_stops_the_start(start: Start) -> None:
    with pytest.raises(SettingsError, match=r"plugins\.moderation.*model"):
        await start(providers={}, plugin_tables={"moderation": {"always": True}})


async def test_a_dry_run_asks_nobody_and_says_who_would_be(start: Start, judge: Judge) -> None:
    router = await started(start, judge, always=True)

    answer = await router.post("/v1/chat/completions", ask(BAD), headers={"X-Router-Dry-Run": "1"})

    told = [each["summary"] for each in (await answer.json())["policy"] if each["step"] == "plugin"]
    assert (answer.status, told) == (200, ["own/guard would look at the input"])
    assert not judge.paths
