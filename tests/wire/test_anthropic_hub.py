"""Recorded requests of Anthropic's clients: through the hub and back they say the same, and tokens are counted as recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from router_anthropic import Anthropic

from router.dialects.anthropic_messages import AnthropicMessages
from router.provider import Timeouts
from router.settings import Settings
from router.testing import FakeUpstream, json_answer, running

from .normal import Body, anthropic_normal
from .recordings import MISSING, Recording, chat_recordings, recordings

pytestmark = pytest.mark.wire

DIALECT = AnthropicMessages()
PROVIDER = Anthropic("claude", Anthropic.Settings(plugin="anthropic", api_key="k"), Timeouts())
#: a message that is a string: nothing to decode
REFUSED = {"anthropic-d44a38"}

ASKED = [
    pytest.param(each, id=each.name)
    for each in chat_recordings()
    if each.dialect == "anthropic-messages" and each.asked is not None and each.name not in REFUSED
] or [pytest.param(None, marks=pytest.mark.skip(reason=MISSING))]
COUNTED = [pytest.param(each, id=each.name) for each in recordings() if each.dialect == "anthropic-count-tokens"] or [
    pytest.param(None, marks=pytest.mark.skip(reason=MISSING))
]


@pytest.mark.parametrize("recording", ASKED)
def test_a_request_survives_the_hub(recording: Recording) -> None:
    asked = {"max_tokens": 4096, **(recording.asked or {}), "model": recording.model}
    request = DIALECT.decode(DIALECT.peek(json.dumps(asked).encode(), {}, "chat"))

    went = json.loads(PROVIDER.encode(replace(request, model=recording.model)).body)

    assert anthropic_normal(went) == anthropic_normal(without_blanks(asked))


def without_blanks(body: Body) -> Body:
    """Text of white space only is not taken by Anthropic; where a model has written some, it does not go back."""
    messages = [
        {**each, "content": [block for block in each["content"] if str(block.get("text", "x")).strip()]}
        if isinstance(each["content"], list)
        else each
        for each in body["messages"]
    ]
    return {**body, "messages": messages}


@pytest.mark.parametrize("recording", COUNTED)
async def test_tokens_are_counted_as_recorded(recording: Recording, tmp_path: Path) -> None:
    asked: dict[str, Any] = recording.asked or {}
    async with FakeUpstream().listening() as upstream:
        provider = {"plugin": "anthropic", "base_url": upstream.url, "api_key": "k"}
        async with running(Settings(providers={"claude": provider}), tmp_path) as router:
            upstream.will(json_answer(recording.raw, status=recording.status))

            answer = await router.post(
                "/v1/messages/count_tokens?beta=true", {**asked, "model": f"claude/{asked['model']}"}
            )

    told = await answer.json()
    assert answer.status == 200
    if recording.status == 200:
        assert told == recording.body
        assert "X-Router-Estimate" not in answer.headers
        assert normal_count(upstream.asked[0].body) == normal_count(asked)
    else:
        assert told["input_tokens"] > 0
        assert answer.headers["X-Router-Estimate"] == "true"


def normal_count(body: Body) -> Body:
    """Without the forced call, which thinking excludes, and thinking itself, which has a form for each model."""
    left_out = ("thinking", "stream", "tool_choice")
    return anthropic_normal({name: value for name, value in body.items() if name not in left_out})
