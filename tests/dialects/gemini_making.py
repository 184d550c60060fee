"""Calls, streams and clients' eyes for the tests of Gemini's API. All traffic here is made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace
from router_gemini import Gemini

from router.call import Call, Candidate, Endpoint, Outcome
from router.dialects.gemini_generate import GeminiGenerate
from router.model import ChatRequest, Model
from router.provider import Timeouts

Body = dict[str, Any]

DIALECT = GeminiGenerate()
PROVIDER = Gemini("google", Gemini.Settings(plugin="gemini", api_key="upstream-key"), Timeouts())
ASK: Body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
MODEL = "gemini-3-flash-preview"


def make_call(
    asked: Body | bytes = ASK, *, operation: str = "chat", query: str = "", headers: Mapping[str, str] | None = None
) -> Call:
    """A call at the point where its answer begins to arrive."""
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    path = {"model": "google/flash"}
    call = Call(
        dialect=DIALECT, body=body, headers=headers or {}, path=path, presented=None, started_s=0.0, query=query
    )
    call.head = DIALECT.peek(body, path, operation)
    endpoint = Endpoint(provider=PROVIDER, model_id="google/flash", model=Model(id=MODEL))
    call.candidate = Candidate(endpoint=endpoint, credential=PROVIDER.credentials[0])
    call.outcome = Outcome()
    return call


def patched(call: Call) -> bytes:
    """What goes upstream on the raw lane."""
    assert call.candidate is not None
    return DIALECT.patch(call, call.candidate)


def decoded(**members: Any) -> ChatRequest:
    """What goes into the hub."""
    return DIALECT.decode(make_call({**ASK, **members}).head)


def through_the_hub(asked: Body, model: str = MODEL) -> Body:
    """What goes upstream to Google on the hub lane."""
    request = replace(DIALECT.decode(make_call(asked).head), model=model)
    body: Body = json.loads(PROVIDER.encode(request).body)
    return body


# --- streams ---------------------------------------------------------------------------------------------------------


def answer(*parts: Body, finish: str | None = None, index: int = 0, **members: Any) -> Body:
    """An answer, or an event of a stream."""
    candidate: Body = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "up-1", **members}


USAGE = {
    "promptTokenCount": 9,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 2,
    "cachedContentTokenCount": 5,
    "totalTokenCount": 15,
}


def spoken(*texts: str) -> list[Body]:
    """A whole stream of text."""
    return [
        *(answer({"text": text}) for text in texts),
        answer({"text": "."}, finish="STOP", usageMetadata=USAGE),
    ]


def sse(answers: Iterable[Body], end: str = "\r\n") -> bytes:
    """Answers as Google sends them."""
    return "".join(f"data: {json.dumps(each, ensure_ascii=False)}{end}{end}" for each in answers).encode()


def answers_of(stream: bytes) -> list[Body]:
    """The answers of an event stream, which has to be plain: one line of data each."""
    *frames, rest = stream.replace(b"\r\n", b"\n").split(b"\n\n")
    assert rest == b""
    assert all(frame.startswith(b"data: {") and b"\n" not in frame for frame in frames)
    return [json.loads(frame[6:]) for frame in frames]


def parts_of(answers: Iterable[Body], index: int = 0) -> list[Body]:
    """All parts of a candidate."""
    return [
        part
        for each in answers
        for candidate in each["candidates"]
        if candidate["index"] == index
        for part in candidate["content"]["parts"]
    ]
