"""Items as they are kept, and as they are sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from router.dialects.openai_responses.history import again, listed, response_of


def kept(given: Any) -> list[dict[str, Any]]:
    return listed(Raw(json.dumps(given).encode()), "t")


def test_every_item_gets_an_id_and_a_type() -> None:
    assert kept("hello") == [
        {
            "id": "msg_t000",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": "hello"}],
        }
    ]
    items = kept(
        [
            {"role": "assistant", "content": "hi"},
            {"type": "function_call", "id": "fc_own", "call_id": "c", "name": "f", "arguments": "{}", "status": None},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "computer_call_output", "call_id": "c"},
        ]
    )
    assert [item["id"] for item in items] == ["msg_t000", "fc_own", "fco_t002", "item_t003"]
    assert items[0]["content"] == [{"type": "output_text", "text": "hi", "annotations": []}]
    assert "status" not in items[1]
    assert kept(None) == []


def test_what_is_sent_again_has_no_ids_that_only_its_upstream_knows() -> None:
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "user", "content": [{"type": "x"}]}
    thinking = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}

    sent = again([message, thinking, search, {"type": "reasoning", "id": "rs_2", "summary": []}])

    assert sent == [{"type": "message", "role": "user", "content": [{"type": "x"}]}, thinking, search]


def test_of_speech_the_words_are_sent_again() -> None:
    sound = {"type": "output_audio", "data": "aGk=", "transcript": "hi"}

    (sent,) = again([{"type": "message", "role": "assistant", "content": [sound]}])

    assert sent["content"] == [{"type": "output_text", "text": "hi", "annotations": []}]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"id":"resp_1","output":[]}', "resp_1"),
        (b'event: a\ndata: {"type":"a","response":{"id":"resp_1","output":[]}}\n\ndata: [DONE]\n\n', "resp_1"),
        (b'data: {"type":"a","item":{}}\n\nevent: b\ndata: {"type":"b","response":{"id":"r","output":[]}}\n\n', "r"),
        (b'{"error":{"message":"no"}}', None),
        (b'data: {"type":"response.output_text.delta","delta":"\\"response\\""}\n\n', None),
        (b"", None),
    ],
)
def test_the_response_is_found_in_any_end_of_an_answer(data: bytes, found: str | None) -> None:
    response = response_of(data)

    assert (response or {}).get("id") == found
