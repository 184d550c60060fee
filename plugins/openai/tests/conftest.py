"""Bodies as OpenAI would get them, on both lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from router_openai import OpenAI

from router import Call, Candidate, Credential, Endpoint, Timeouts
from router.dialects.openai_chat import OpenAIChat

DIALECT = OpenAIChat()


@pytest.fixture
def provider() -> OpenAI:
    """OpenAI as the configuration makes it."""
    return OpenAI("openai", msgspec.convert({"plugin": "openai", "api_key": "test-key"}, OpenAI.Settings), Timeouts())


@pytest.fixture(params=["raw", "hub"])
def sent(request: pytest.FixtureRequest, provider: OpenAI) -> Callable[..., dict[str, Any]]:
    """The body for a client's: `sent("gpt-5", {…})`, on the lane of this test. `sent.dropped` names what was left out."""

    def body(model: str, members: dict[str, Any]) -> dict[str, Any]:
        asked = {"messages": [{"role": "user", "content": "hi"}], "model": f"openai/{model}", **members}
        data = msgspec.json.encode(asked)
        head = DIALECT.peek(data, {}, "chat")
        if request.param == "hub":
            outgoing = provider.encode(replace(DIALECT.decode(head), model=model, stream=head.stream))
            body.dropped = outgoing.dropped  # type: ignore[attr-defined]
            return msgspec.json.decode(outgoing.body, type=dict[str, Any])
        endpoint = Endpoint(provider=provider, model_id=f"openai/{model}", model=provider.unknown(model))
        call = Call(dialect=DIALECT, body=data, headers={}, path={}, presented=None, started_s=0)
        call.head = head
        candidate = Candidate(endpoint=endpoint, credential=Credential(secret="test-key"))
        patched = DIALECT.patch(call, candidate)
        body.dropped = call.dropped  # type: ignore[attr-defined]
        return msgspec.json.decode(patched, type=dict[str, Any])

    return body
