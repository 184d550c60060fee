"""Bodies as an upstream would get them, on both lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from router_openai_compatible import Compatible

from router import Call, Candidate, Credential, Endpoint, Timeouts
from router.dialects.openai_chat import OpenAIChat

DIALECT = OpenAIChat()


@pytest.fixture
def provider() -> Callable[..., Compatible]:
    """A provider as the configuration makes it: `provider("groq", think_tags=True)`."""

    def make(preset: str = "", **settings: Any) -> Compatible:
        given = {"plugin": "openai-compatible", "preset": preset, "api_key": "test-key", **settings}
        return Compatible(preset or "other", msgspec.convert(given, Compatible.Settings), Timeouts())

    return make


@pytest.fixture(params=["raw", "hub"])
def sent(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """The body that an upstream gets for a client's: `sent(provider, "model", {…})`, on the lane of this test."""

    def body(provider: Compatible, model: str, members: dict[str, Any]) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": "hi"}], "model": f"x/{model}", **members}
        data = msgspec.json.encode(asked)
        head = DIALECT.peek(data, {}, "chat")
        if request.param == "hub":
            outgoing = provider.encode(replace(DIALECT.decode(head), model=model, stream=head.stream))
            return msgspec.json.decode(outgoing.body, type=dict[str, Any])
        endpoint = Endpoint(provider=provider, model_id=f"x/{model}", model=provider.unknown(model))
        call = Call(dialect=DIALECT, body=data, headers={}, path={}, presented=None, started_s=0)
        call.head = head
        candidate = Candidate(endpoint=endpoint, credential=Credential(secret="test-key"))
        return msgspec.json.decode(DIALECT.patch(call, candidate), type=dict[str, Any])

    return body
