"""Files sent to models that take none, over sockets and by the SDKs that people use."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import openai
import pytest
import router_file_parser
from aiohttp import web
from router_file_parser.settings import Settings as Bounds

from router import Call, hookimpl
from router.settings import EndpointSettings, FetchSettings, ModelSettings
from router.testing import FakeUpstream, Running, completion, json_answer

from .documents import bomb, data_url, encrypted, pdf

Start = Callable[..., Awaitable[Running]]
REPORT = pdf("Revenue grew by 12 percent", "Costs fell")
ANSWER = completion("good")


class Watching:
    """Keeps the calls, to see what plugins noted in them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        self.calls.append(call)


async def started(start: Start, upstream: FakeUpstream, **tables: Any) -> tuple[Running, Watching]:
    """`text/m` takes text only, `files/m` files too, `both/m` is either."""
    upstream.will(json_answer(ANSWER))
    watching = Watching()
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}
    text = ModelSettings(endpoints=[EndpointSettings(provider="fake", model="t")], context_length=9000)
    files = ModelSettings(
        endpoints=[EndpointSettings(provider="fake", model="f")], context_length=9000, input_modalities=["text", "file"]
    )
    router = await start(
        providers={"fake": provider},
        models={"text/m": text, "files/m": files},
        plugins={"file-parser": router_file_parser, "watching": watching},
        **tables,
    )
    return router, watching


def ask(*files: dict[str, Any], model: str = "text/m", **members: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "Well?"}, *({"type": "file", "file": each} for each in files)]
    return {"model": model, "messages": [{"role": "user", "content": content}], **members}


def given(content: bytes, name: str = "report.pdf", media_type: str = "application/pdf") -> dict[str, Any]:
    return {"filename": name, "file_data": data_url(content, media_type)}


def texts(upstream: FakeUpstream, number: int = -1) -> list[str]:
    """What the upstream was told in the first message."""
    return [each.get("text", each["type"]) for each in upstream.asked[number].body["messages"][0]["content"]]


PARSED = '<file name="report.pdf">\nRevenue grew by 12 percent\n\nCosts fell\n</file>'


async def test_an_openai_client_sends_a_pdf_to_a_model_without_files_and_gets_notes_to_send_back(
    start: Start, upstream: FakeUpstream
) -> None:
    router, watching = await started(start, upstream)
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        request = ask(given(REPORT))
        first = await client.chat.completions.create(**request)
        said = first.choices[0].message.model_dump(exclude_none=True)
        request["messages"] += [said, {"role": "user", "content": "And then?"}]
        second = await client.chat.completions.create(**request)

    assert texts(upstream) == texts(upstream, 0) == ["Well?", PARSED]
    assert said["annotations"][0]["file"]["content"] == [
        {"type": "text", "text": "Revenue grew by 12 percent\n\nCosts fell"}
    ]
    assert "annotations" not in upstream.asked[1].body["messages"][1]
    assert not second.choices[0].message.annotations
    assert [call.pipeline[0]["data"]["parsed"] for call in watching.calls] == [1, 0]


async def test_notes_for_another_file_are_not_taken_for_this_one(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)
    note = {
        "type": "file",
        "file": {"hash": "0" * 64, "name": "report.pdf", "content": [{"type": "text", "text": "lies"}]},
    }
    body = ask(given(REPORT))
    body["messages"].append({"role": "assistant", "content": "good", "annotations": [note, {"type": "url_citation"}]})

    answer = await router.post("/v1/chat/completions", body)

    assert (answer.status, texts(upstream)) == (200, ["Well?", PARSED])


async def test_notes_come_with_streams_too(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0) as client:
        stream = await client.chat.completions.create(**ask(given(REPORT)), stream=True)
        deltas = [choice.delta.model_dump() async for each in stream for choice in each.choices]

    assert [each["annotations"][0]["file"]["name"] for each in deltas if each.get("annotations")] == ["report.pdf"]


async def test_an_anthropic_client_sends_a_pdf(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)
    source: Any = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(REPORT).decode()}
    async with anthropic.AsyncAnthropic(base_url=router.url, api_key=router.key, max_retries=0) as client:
        document: Any = {"type": "document", "title": "report.pdf", "source": source}
        answer = await client.messages.create(
            model="text/m", max_tokens=100, messages=[{"role": "user", "content": [document]}]
        )

    assert [each.type for each in answer.content] == ["text"]
    assert PARSED in str(upstream.asked[0].body["messages"][0]["content"]).replace("\\n", "\n")


async def test_a_pdf_by_its_url_is_fetched(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream, fetch=FetchSettings(allow_private=True))

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith(".pdf"):
            return web.Response(body=REPORT, content_type="application/pdf")
        return web.json_response(ANSWER)

    upstream.will(answer)

    response = await router.post("/v1/chat/completions", ask({"file_data": f"{upstream.url}/report.pdf?key=1"}))

    assert (response.status, texts(upstream)) == (200, ["Well?", PARSED])


async def test_a_url_that_is_not_public_is_not_fetched(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)

    response = await router.post("/v1/chat/completions", ask({"file_data": f"{upstream.url}/report.pdf"}))

    assert response.status == 400
    assert "not public" in (await response.json())["error"]["message"]
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("name", "media_type", "content", "text"),
    [
        ("notes.md", "text/markdown", "# Ås\n".encode(), "# Ås\n"),
        ("rows.csv", "application/octet-stream", b"a,b\n1,2", "a,b\n1,2"),
        ("old.txt", "text/plain", "Ås".encode("utf-16"), "Ås"),
        ("data.json", "application/json", b"{}", "{}"),
        (
            "page.html",
            "text/html",
            b"<head><title>x</title></head><p>One &amp; <b>two</b><script>no</script><li>3",
            "One & two\n3",
        ),
    ],
)
async def test_files_of_text(
    start: Start, upstream: FakeUpstream, name: str, media_type: str, content: bytes, text: str
) -> None:
    router, _ = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ask(given(content, name, media_type)))

    assert (answer.status, texts(upstream)) == (200, ["Well?", f'<file name="{name}">\n{text}\n</file>'])


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (given(encrypted(REPORT, "secret")), "encrypted"),
        (given(REPORT[:400]), "broken"),
        (given(b"not a pdf"), "no PDF, or a broken one"),
        (given(pdf("", "")), "a scan"),
        (given(b"\x89PNG\r\n"), "is an image"),
        (given(b"PK\x03\x04\xff", "x.docx", "application/vnd.openxmlformats"), "cannot be read here"),
        ({"filename": "x.pdf", "file_data": "data:application/pdf;base64,***"}, "not valid base64"),
        ({"file_id": "file-1"}, "id of a file"),
        (given(pdf(*("page" for _ in range(30)))), "it has 30 pages, more than the 20"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_cannot_be_read_is_refused_with_what_to_do(
    start: Start, upstream: FakeUpstream, file: dict[str, Any], why: str
) -> None:
    router, _ = await started(start, upstream)
    router.server.plugin_settings["file-parser"] = Bounds(max_pages=20)

    answer = await router.post("/v1/chat/completions", ask(file))
    error = (await answer.json())["error"]

    assert (answer.status, error["param"]) == (400, "messages")
    assert why in error["message"]
    assert upstream.asked == []


async def test_a_pdf_that_would_take_for_ever_is_stopped_and_others_are_served(
    start: Start, upstream: FakeUpstream
) -> None:
    router, _ = await started(start, upstream)
    router.server.plugin_settings["file-parser"] = Bounds(seconds=1)

    answer = await router.post("/v1/chat/completions", ask(given(bomb(20), "bomb.pdf")))

    assert answer.status == 400
    assert "bomb.pdf could not be read" in (await answer.json())["error"]["message"]


async def test_one_that_is_encrypted_without_a_password_is_read(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ask(given(encrypted(REPORT, ""))))

    assert (answer.status, texts(upstream)) == (200, ["Well?", PARSED])


@pytest.mark.parametrize(
    ("members", "parsed"),
    [
        ({}, False),
        ({"plugins": [{"id": "file-parser"}]}, False),
        ({"plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}]}, False),
        ({"plugins": [{"id": "file-parser", "pdf": {"engine": "pdf-text"}}]}, True),
        ({"plugins": [{"id": "file-parser", "pdf": {"engine": "cloudflare-ai"}}]}, True),
    ],
    ids=str,
)
async def test_a_model_that_reads_files_gets_them_unless_an_engine_is_named(
    start: Start, upstream: FakeUpstream, members: dict[str, Any], parsed: bool
) -> None:
    router, _ = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ask(given(REPORT), model="files/m", **members))

    assert answer.status == 200
    assert texts(upstream) == ["Well?", PARSED if parsed else "file"]


async def test_a_model_that_reads_files_is_not_followed_by_one_that_does_not(
    start: Start, upstream: FakeUpstream
) -> None:
    router, watching = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ask(given(REPORT), model="files/m", models=["text/m"]))

    assert (answer.status, texts(upstream)) == (200, ["Well?", "file"])
    assert [each["reason"] for each in watching.calls[0].plan.filtered] == [router_file_parser.TAKEN]


@pytest.mark.parametrize(
    "entry", [{"id": "file-parser", "enabled": False}, {"id": "file-parser", "pdf": {"engine": "native"}}], ids=str
)
async def test_without_it_models_without_files_are_excluded(
    start: Start, upstream: FakeUpstream, entry: dict[str, Any]
) -> None:
    router, _ = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ask(given(REPORT), plugins=[entry]))

    assert answer.status == 404
    assert "modality" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"pdf": {"engine": "mistral-ocr"}}, "'mistral-ocr' is not here"),
        ({"pdf": "fast"}, "must be an object"),
        ({"max_files": 0}, "above 0"),
        ({"max_files": 1}, "2 files are more than the 1"),
    ],
    ids=str,
)
async def test_options_that_there_are_not(
    start: Start, upstream: FakeUpstream, options: dict[str, Any], why: str
) -> None:
    router, _ = await started(start, upstream)
    plugins = [{"id": "file-parser", **options}]

    answer = await router.post("/v1/chat/completions", ask(given(REPORT), given(REPORT), plugins=plugins))

    assert answer.status == 400
    assert why in (await answer.json())["error"]["message"]


async def test_a_prompt_that_its_files_make_too_long_is_compressed_when_that_is_wanted(
    start: Start, upstream: FakeUpstream
) -> None:
    router, _ = await started(start, upstream)
    long = given(b"word " * 20_000, "long.txt", "text/plain")

    answer = await router.post("/v1/chat/completions", ask(long, max_tokens=100, transforms=["middle-out"]))

    assert answer.status == 200
    assert 0 < sum(map(len, texts(upstream))) < 40_000


async def test_a_dry_run_fetches_nothing(start: Start, upstream: FakeUpstream) -> None:
    router, _ = await started(start, upstream, fetch=FetchSettings(allow_private=True))
    body = ask({"filename": "report.pdf", "file_data": upstream.url + "/report.pdf"})

    answer = await router.post("/v1/chat/completions", body, headers={"X-Router-Dry-Run": "1"})

    assert answer.status == 200
    assert "a dry run fetches nothing" in await answer.text()
    assert not upstream.asked
