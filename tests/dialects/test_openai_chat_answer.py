"""Plain answers of the raw lane, and errors: what an OpenAI client reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.call import Call
from router.errors import (
    BadRequest,
    NotFound,
    RateLimited,
    RouterError,
    UpstreamBusy,
    UpstreamRejected,
    UpstreamUnavailable,
)

from .lanes import settled
from .making import DIALECT, USAGE, make_call


def completion(message: dict[str, Any] | None = None, *, finish: Any = "stop", **members: Any) -> dict[str, Any]:
    """A whole answer as an upstream sends it."""
    said = {"role": "assistant", "content": "Hi"} if message is None else message
    return {
        "id": "up-1",
        "object": "chat.completion",
        "created": 1_600_000_000,
        "model": "chat-1-0613",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": USAGE,
        **members,
    }


def answered(upstream: dict[str, Any] | bytes, call: Call | None = None, **ask: Any) -> dict[str, Any]:
    """What the client gets."""
    call = call or make_call(**ask)
    raw = upstream if isinstance(upstream, bytes) else json.dumps(upstream).encode()
    DIALECT.answer(call, raw)
    told: dict[str, Any] = json.loads(DIALECT.final_answer(settled(call), raw))
    return told


def test_an_answer():
    call = make_call()

    told = answered(completion(service_tier="flex", novelty=[1]), call)

    assert told["id"] == call.id
    assert (told["object"], told["created"]) == ("chat.completion", 1_600_000_000)
    assert (told["model"], told["provider"]) == ("acme/chat", "acme")
    assert told["system_fingerprint"] is None
    assert told["service_tier"] == "flex"
    assert told["novelty"] == [1]
    (choice,) = told["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hi", "refusal": None, "reasoning": None}
    assert (choice["finish_reason"], choice["native_finish_reason"], choice["logprobs"]) == ("stop", "stop", None)
    assert told["usage"]["total_tokens"] == 13
    assert told["usage"]["cost"] == 0.000005
    assert call.outcome.upstream_id == "up-1"
    assert call.outcome.output_chars == 2
    assert call.outcome.service_tier == "flex"


def test_reasoning_has_both_names():
    message = answered(completion({"role": "assistant", "content": "Yes", "reasoning_content": "Hm"}))["choices"][0][
        "message"
    ]

    assert message["reasoning"] == message["reasoning_content"] == "Hm"


def test_excluded_reasoning_is_not_shown():
    said = {"role": "assistant", "content": "Yes", "reasoning": "Hm", "reasoning_details": [{}]}

    message = answered(completion(said), reasoning={"exclude": True})["choices"][0]["message"]

    assert not any("reasoning" in name and value for name, value in message.items())


def test_tool_calls_are_made_regular():
    calls = [
        {"id": "1", "function": {"name": "f", "arguments": {"a": 1}}},
        {"type": "function", "function": {"name": "g"}},
    ]

    (choice,) = answered(completion({"content": None, "tool_calls": calls}, finish="stop"))["choices"]

    first, second = choice["message"]["tool_calls"]
    assert first == {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert second["id"].startswith("call_")
    assert second["function"] == {"name": "g", "arguments": ""}
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("tool_calls", "stop")
    assert choice["message"]["role"] == "assistant"


def test_a_custom_tools_call_keeps_its_form():
    call = {"id": "1", "type": "custom", "custom": {"name": "math", "input": "4 + 4"}}

    (told,) = answered(completion({"content": None, "tool_calls": [call]}))["choices"][0]["message"]["tool_calls"]

    assert told == call


def test_empty_legacy_calls_are_none():
    said = {"content": "Hi", "function_call": {"name": "", "arguments": ""}, "tool_calls": None, "audio": None}

    (choice,) = answered(completion(said))["choices"]

    assert choice["finish_reason"] == "stop"
    assert not {"function_call", "tool_calls", "audio"} & choice["message"].keys()


@pytest.mark.parametrize(("native", "reason"), [("", "stop"), (None, "stop"), ("length", "length"), ("eos", "stop")])
def test_finish_reasons(native: str | None, reason: str):
    (choice,) = answered(completion(finish=native))["choices"]

    assert (choice["finish_reason"], choice["native_finish_reason"]) == (reason, native or None)


USAGES = [
    pytest.param({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, (5, 2, 0, 0), id="plain"),
    pytest.param(
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_cache_hit_tokens": 4},
        (5, 2, 4, 0),
        id="DeepSeek",
    ),
    pytest.param(
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cached_tokens": 3}, (5, 2, 3, 0), id="Moonshot"
    ),
    pytest.param(
        {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 17,
            "completion_tokens_details": {"reasoning_tokens": 10},
        },
        (5, 12, 0, 10),
        id="xAI leaves reasoning out",
    ),
    pytest.param(
        {
            "prompt_tokens": 5,
            "completion_tokens": 20,
            "total_tokens": 25,
            "completion_tokens_details": {"reasoning_tokens": 10},
        },
        (5, 20, 0, 10),
        id="reasoning is within",
    ),
    pytest.param(
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 50}},
        (5, 2, 5, 0),
        id="no more cached than there were",
    ),
    pytest.param(
        {"prompt_tokens": -5, "completion_tokens": 10**12, "total_tokens": 7, "prompt_tokens_details": None},
        (0, 0, 0, 0),
        id="lies",
    ),
]


@pytest.mark.parametrize(("given", "counted"), USAGES)
def test_usage_arithmetic(given: dict[str, Any], counted: tuple[int, int, int, int]):
    usage = answered(completion(usage=given))["usage"]

    told = (usage["prompt_tokens"], usage["completion_tokens"], usage["prompt_tokens_details"]["cached_tokens"])
    assert (*told, usage["completion_tokens_details"]["reasoning_tokens"]) == counted
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_other_counts_of_the_upstream_stay():
    given = USAGE | {"queue_time": 0.25, "completion_tokens_details": {"accepted_prediction_tokens": 3}}

    usage = answered(completion(usage=given))["usage"]

    assert usage["queue_time"] == 0.25
    assert usage["completion_tokens_details"]["accepted_prediction_tokens"] == 3


def test_what_the_upstream_charged_is_noted_but_not_told():
    call = make_call()

    usage = answered(completion(usage=USAGE | {"cost": 0.5}), call)["usage"]

    assert usage["cost"] == 0.000005
    assert call.outcome.usage is not None
    assert call.outcome.usage.cost == 500_000_000_000


def test_no_usage_is_none():
    call = make_call()

    DIALECT.answer(call, json.dumps(completion(usage=None)).encode())

    assert call.outcome.usage is None


@pytest.mark.parametrize(
    ("raw", "leaf"),
    [
        (b"", UpstreamUnavailable),
        (b"<html>502</html>", UpstreamUnavailable),
        (b"[]", UpstreamUnavailable),
        (b'{"choices":[]}', UpstreamUnavailable),
        (b'{"id":"x"}', UpstreamUnavailable),
        (b'{"choices":[{"message":{"content":"x"},"finish_reason":"error"}]}', UpstreamUnavailable),
        (b'{"choices":[{"message":{"content":"x"},"error":{"code":429,"message":"wait"}}]}', UpstreamBusy),
        (b'{"error":{"message":"no","status":400,"code":"content_filter"}}', UpstreamRejected),
        (b'{"object":"error","message":"no","code":404}', UpstreamRejected),
    ],
)
def test_a_success_that_is_none(raw: bytes, leaf: type[Exception]):
    with pytest.raises(leaf):
        DIALECT.answer(make_call(), raw)


# --- errors ----------------------------------------------------------------------------------------------------------


def envelope(error: RouterError, **options: Any) -> tuple[int, dict[str, Any]]:
    status, raw = DIALECT.error(error, "req_1", **options)
    told: dict[str, Any] = json.loads(raw)
    return status, told


def test_the_envelope_of_an_error():
    status, told = envelope(RateLimited("slow down", retry_after_s=3))

    assert status == 429
    assert told == {
        "error": {
            "message": "slow down",
            "type": "rate_limit_error",
            "code": "rate_limited",
            "param": None,
            "metadata": {"error_type": "rate_limit_exceeded", "error_code": "rate_limited", "http_status": 429},
        },
        "code": "rate_limited",
        "request_id": "req_1",
    }


def test_the_member_at_fault_is_named():
    assert envelope(BadRequest("no", param="top_p"))[1]["error"]["param"] == "top_p"


def test_numbers_for_clients_that_need_them():
    status, told = envelope(RateLimited("slow down"), number_codes=True)

    assert (status, told["error"]["code"], told["code"]) == (429, 429, "rate_limited")


def test_an_unknown_model_is_a_400_for_clients_with_numbers():
    told = {"code": "model_not_found"}
    gone = NotFound("no such model", code="model_not_found", param="model", availability=told)

    assert envelope(gone)[0] == 404
    assert envelope(gone)[1]["error"]["availability"] == {"code": "model_not_found"}
    assert envelope(gone, number_codes=True)[0] == 400


def test_bugs_are_not_explained():
    assert "secret" not in json.dumps(envelope(RouterError("secret path")))


def test_upstream_errors_are_cut_and_named():
    error = UpstreamBusy(
        "x" * 900, provider_code="rate_limit", metadata={"provider_name": "acme", "previous_errors": [{}]}
    )

    told = envelope(error)[1]["error"]

    assert len(told["message"]) == 500
    assert told["metadata"]["provider_code"] == "rate_limit"
    assert told["metadata"]["provider_name"] == "acme"
    assert told["metadata"]["previous_errors"] == [{}]


@pytest.mark.parametrize(
    ("headers", "compat", "code"),
    [
        ({}, {}, "upstream_error"),
        ({"X-Router-Error-Code": "number"}, {}, 502),
        ({"User-Agent": "speakeasy-sdk/python 1"}, {}, 502),
        ({"User-Agent": "@openrouter/sdk 1"}, {}, 502),
        ({}, {"error_code": "number"}, 502),
        ({"X-Router-Error-Code": "string", "User-Agent": "speakeasy-sdk/python 1"}, {}, "upstream_error"),
    ],
)
def test_an_error_inside_of_a_stream(headers: dict[str, str], compat: dict[str, Any], code: str | int):
    call = make_call(stream=True, n=2)
    call.headers, call.compat = headers, compat

    frame, done, _ = DIALECT.stream_error(call, UpstreamUnavailable("it broke")).decode().split("\n\n")

    chunk = json.loads(frame[6:])
    assert done == "data: [DONE]"
    assert chunk["error"]["code"] == code
    assert chunk["error"]["message"] == "it broke"
    assert chunk["error"]["metadata"]["error_type"] == "provider_unavailable"
    assert chunk["error"]["metadata"]["http_status"] == 502
    assert [each["index"] for each in chunk["choices"]] == [0, 1]
    assert chunk["choices"][0] == {
        "index": 0,
        "delta": {"content": ""},
        "finish_reason": "error",
        "native_finish_reason": None,
    }
    assert (chunk["id"], chunk["object"], chunk["provider"]) == (call.id, "chat.completion.chunk", "acme")
