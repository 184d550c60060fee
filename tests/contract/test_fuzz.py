"""Whatever somebody sends, on any path: an answer or an error of theirs, well-formed, and never a fault of ours."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.dialects.openai_chat.fields import FIELDS
from tests.serving import Served

from .envelopes import checked
from .test_requests import ASK, DIALECTS, RANGES

Ask = Callable[..., tuple[int, str, bytes]]
#: the router stands outside of the test, so one example cannot disturb the next
fuzz = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def ask(served: Served) -> Iterator[Ask]:
    """Ask on one connection. Returns status, type and body."""
    host = served.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)

    def ask(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode("utf-8", "surrogatepass")
        sent = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()

    yield ask
    connection.close()


def assert_fair(told: tuple[int, str, bytes], path: str = DIALECTS[0]) -> None:
    """An answer, whole or streamed, or the client's own fault; of the chat surface in every detail."""
    status, kind, body = told
    assert status == 200 or 400 <= status < 500 or (status == 501 and b"not_configured" in body), body[:500]
    if path == DIALECTS[0]:
        if kind == "text/event-stream":
            assert body.endswith(b"data: [DONE]\n\n")
            for line in body.splitlines():
                assert not line.startswith(b"data: {") or json.loads(line[6:])["object"] == "chat.completion.chunk"
        elif status == 200:
            answer = json.loads(body)
            assert answer["object"] == "chat.completion"
            assert answer["choices"]
            assert answer["usage"]["total_tokens"] >= 0
        else:
            checked(status, kind, json.loads(body))
    elif kind == "application/json":
        assert ("error" in json.loads(body)) or status == 200


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
#: values that are nearly right
NEARLY = {name: st.sampled_from([*taken, *refused]) | JSON for name, (taken, refused) in RANGES.items()}
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "video_url", "refusal", "tool_result"])},
    optional={
        "text": st.text() | JSON,
        "image_url": st.fixed_dictionaries(
            {"url": st.text() | st.sampled_from(["data:image/png;base64,AA", "http://["])}
        )
        | JSON,
        "input_audio": JSON,
        "file": st.fixed_dictionaries({"file_data": st.text()}) | JSON,
        "video_url": JSON,
        "cache_control": JSON,
    },
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text(), "arguments": st.text() | JSON}),
        },
        optional={"id": st.text() | JSON, "index": JSON},
    )
    | JSON,
    max_size=3,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
        optional={
            "content": st.text() | st.lists(PARTS, max_size=3) | JSON,
            "tool_calls": CALLS | JSON,
            "tool_call_id": st.text() | JSON,
            "name": st.text() | JSON,
            "reasoning": st.text() | JSON,
            "reasoning_details": st.lists(
                st.fixed_dictionaries({"type": st.sampled_from(["reasoning.text", "reasoning.encrypted", "x"])}),
                max_size=2,
            )
            | JSON,
            "images": JSON,
            "audio": JSON,
            "refusal": JSON,
            "function_call": JSON,
        },
    )
    | JSON,
    max_size=4,
)
PATHS = st.sampled_from(DIALECTS)


@fuzz
@given(body=st.binary(max_size=200), path=PATHS)
def test_any_bytes(ask: Ask, body: bytes, path: str) -> None:
    assert_fair(ask("POST", path, body), path)


@fuzz
@given(body=JSON, path=PATHS)
def test_any_json(ask: Ask, body: Any, path: str) -> None:
    assert_fair(ask("POST", path, body), path)


@fuzz
@given(
    members=st.dictionaries(st.sampled_from([*FIELDS, "messages", "input", "system", "contents"]), JSON, max_size=8),
    path=PATHS,
)
def test_known_members_with_any_value(ask: Ask, members: dict[str, Any], path: str) -> None:
    assert_fair(ask("POST", path, ASK | {"max_tokens": 9, "input": "x"} | members), path)


@fuzz
@given(members=st.fixed_dictionaries({}, optional=NEARLY), stream=st.booleans())
def test_members_that_are_nearly_right(ask: Ask, members: dict[str, Any], stream: bool) -> None:
    assert_fair(ask("POST", DIALECTS[0], ASK | {"stream": stream} | members))


@fuzz
@given(messages=MESSAGES, path=PATHS)
def test_odd_messages(ask: Ask, messages: Any, path: str) -> None:
    assert_fair(
        ask("POST", path, ASK | {"max_tokens": 9, "messages": messages, "input": messages, "contents": messages}), path
    )


WHOLE = json.dumps(
    ASK | {name: taken[-1] for name, (taken, _) in RANGES.items() if name not in ("messages", "tools", "metadata")}
).encode()


@fuzz
@given(
    at=st.integers(0, len(WHOLE)),
    gone=st.integers(0, 8),
    new=st.binary(max_size=6) | st.sampled_from([b"\\ud800", b"1e999", b"NaN", b"[[[[", b'"', b"\\u0000", b"-"]),
)
def test_a_good_body_with_an_injury(ask: Ask, at: int, gone: int, new: bytes) -> None:
    assert_fair(ask("POST", DIALECTS[0], WHOLE[:at] + new + WHOLE[at + gone :]))


SEGMENTS = st.lists(
    st.text(max_size=10)
    | st.sampled_from(
        [
            "v1",
            "api",
            "v1beta",
            "models",
            "echo",
            "echo:generateContent",
            "chat",
            "completions",
            "generation",
            "..",
            "",
            "key",
        ]
    ),
    max_size=5,
)


@fuzz
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    segments=SEGMENTS,
    query=st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["id", "usage", "limit", "pageSize"]), st.text(max_size=8), max_size=3
    ),
)
def test_any_path(ask: Ask, method: str, segments: list[str], query: dict[str, str]) -> None:
    path = "/" + "/".join(quote(segment, safe=":") for segment in segments) + "?" + urlencode(query)
    status, kind, body = ask(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None)

    assert status < 500
    if kind == "application/json" and method != "HEAD":
        assert isinstance(json.loads(body), dict)


OURS = (
    "X-Router-Timeout", "X-Router-Provider", "X-Router-Tags", "X-Router-Error-Code", "X-Request-Id", "traceparent", "x-session-id",
    "HTTP-Referer", "X-Title", "User-Agent", "Content-Type", "Content-Encoding", "Accept", "anthropic-version", "anthropic-beta",
    "X-OpenRouter-Metadata", "Idempotency-Key", "Origin", "Cookie", "Range", "If-None-Match", "X-Router-No-Comments",
)  # fmt: skip
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)


@fuzz
@given(headers=st.dictionaries(st.sampled_from(OURS), PRINTABLE, max_size=6), path=PATHS, stream=st.booleans())
def test_any_header(ask: Ask, headers: dict[str, str], path: str, stream: bool) -> None:
    body = ASK | {"max_tokens": 9, "input": "hello", "contents": [{"parts": [{"text": "x"}]}], "stream": stream}
    told = ask("POST", path, body, headers)

    assert told[0] == 200 or 400 <= told[0] < 500
    assert told[0] != 401


def test_the_router_still_stands(ask: Ask, served: Served) -> None:
    """Nothing of all this was a bug that the log knows of."""
    assert ask("POST", DIALECTS[0], ASK)[0] == 200
    assert ask("GET", "/health")[0] == 200
    log = served.log.read_text()
    assert "a bug" not in log
    assert "Traceback" not in log
    assert "  | " not in log
