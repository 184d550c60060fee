"""What Claude Code sends, on Claude and on models of other families: requests in the form of its releases of autumn 2026.

Written after its public documents on gateways and what users have published of its traffic; all content is made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from router.testing import FakeUpstream, json_answer
from tests.serving import Served

from .families import FAMILIES, Answer, Anthropic, Family, ToolCall

BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,context-management-2025-06-27,"
    "prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,per-turn-control-2026-07-01,"
    "mid-conversation-tool-changes-2026-07-01,advanced-tool-use-2025-11-20,effort-2025-11-24,extended-cache-ttl-2025-04-11"
)
HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": BETAS,
    "anthropic-dangerous-direct-browser-access": "true",
    "user-agent": "claude-cli/2.1.332 (external, cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "0b1e6f0e-0000-4000-8000-000000000000",
    "x-stainless-lang": "js",
    "x-stainless-timeout": "600",
}
MARK = {"type": "ephemeral", "ttl": "1h"}
LONG_NAME = "mcp__plugin_some-vendor_some-server-with-a-long-name__a_tool_with_a_long_name"
BODY: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Today is a day.</system-reminder>"},
                {"type": "text", "text": "List the files", "cache_control": MARK},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "They want the files.", "signature": "c2lnbmF0dXJl"},
                {"type": "text", "text": "I will look."},
                {
                    "type": "tool_use",
                    "id": "toolu_01A",
                    "name": "Bash",
                    "input": {"command": "ls", "description": "List"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"tool_use_id": "toolu_01A", "type": "tool_result", "content": "a.py\nb.py", "is_error": False},
                {"type": "text", "text": "And now?", "cache_control": MARK},
            ],
        },
        {"role": "system", "content": "The user has opened a.py."},
    ],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.0d9; cc_entrypoint=cli; cch=fa690;"},
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", "cache_control": MARK},
        {"type": "text", "text": "Be helpful.", "cache_control": MARK},
    ],
    "tools": [
        {
            "name": "Bash",
            "description": "Runs a command",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"command": {"type": "string"}, "timeout": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["command"],
                "additionalProperties": False,
            },
            "eager_input_streaming": True,
        },
        {"name": LONG_NAME, "description": "", "input_schema": {"type": "object", "properties": {}}},
    ],
    "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "0b1e6f0e"})},
    "max_tokens": 128000,
    "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "stream": True,
}
ANSWER = Answer(
    thought="Let me think. ",
    words=("Once ", "more."),
    calls=(ToolCall("call_01", "Bash", {"command": "cat a.py"}), ToolCall("call_02", LONG_NAME, {})),
)


@pytest.fixture
def others() -> dict[str, Family]:
    return {family.slug: family for family in FAMILIES if family.slug != "anthropic"}


async def post(
    served: Served, path: str, body: Any, more: Mapping[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    headers = {**HEADERS, "authorization": f"Bearer {served.key}", **(more or {})}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}{path}?beta=true", json=body, headers=headers) as response,
    ):
        return response.status, await response.read(), dict(response.headers)


async def test_claude_gets_all_of_it(served: Served, upstream: FakeUpstream) -> None:
    claude = Anthropic()
    upstream.will(claude.streamed(ANSWER))

    status, raw, _ = await post(served, "/v1/messages", {"model": claude.model, **BODY})

    assert (status, raw) == (200, b"".join(claude.frames(ANSWER)))
    (asked,) = upstream.asked
    assert asked.body == {"model": claude.upstream_model, **BODY, "max_tokens": 64000}
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert (headers["anthropic-beta"], headers["anthropic-version"]) == (BETAS, "2023-06-01")
    assert headers["x-api-key"] == claude.key
    assert "authorization" not in headers
    assert served.key not in str(headers)


@pytest.mark.parametrize(
    ("model", "beta", "most"),
    [
        ("anthropic/claude-sonnet-4-5", "", 64000),
        ("anthropic/claude-sonnet-4-5", "output-128k-2025-02-19", 128000),
        ("anthropic/claude-opus-4-6", "", 128000),
        ("anthropic/of-tomorrow", "", 128000),
        ("openai/gpt-4o", "", 16384),
    ],
)
async def test_nobody_is_asked_for_more_than_it_writes(
    served: Served, upstream: FakeUpstream, others: dict[str, Family], model: str, beta: str, most: int
) -> None:
    family = Anthropic() if model.startswith("anthropic") else others["openai"]
    upstream.will(family.plain(WORDS))
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 128000}

    status, _, _ = await post(served, "/v1/messages", body, {"anthropic-beta": beta} if beta else {})

    sent = upstream.asked[0].body
    assert (status, sent.get("max_tokens", sent.get("max_completion_tokens"))) == (200, most)


@pytest.mark.parametrize("slug", ["openai", "local", "gemini"])
async def test_other_models_get_what_they_understand(
    served: Served, upstream: FakeUpstream, others: dict[str, Family], slug: str
) -> None:
    family = others[slug]
    short = "mcp__plugin_some-vendor_some-server-with-a-long-name__a"
    upstream.will(family.streamed(Answer(thought=ANSWER.thought, words=ANSWER.words, calls=ANSWER.calls[:1])))

    status, raw, _ = await post(served, "/v1/messages", {"model": family.model, **BODY})

    assert status == 200
    events = [json.loads(frame.partition("data: ")[2]) for frame in raw.decode().split("\n\n") if frame]
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [(block["type"], block.get("name")) for block in blocks if block["type"] == "tool_use"] == [
        ("tool_use", "Bash")
    ]
    (asked,) = upstream.asked
    sent = family.sent(asked)
    assert sent.tools[0] == "Bash"
    assert sent.tools[1].startswith(short)
    assert len(sent.tools[1]) <= 64
    assert [text for _, text in sent.results] == ["a.py\nb.py"]
    body = json.dumps(asked.body)
    assert "x-anthropic-billing-header" not in body
    assert "You are Claude Code" in body
    assert "The user has opened a.py." in body
    assert "anthropic-beta" not in str(asked.headers).lower()
    assert not {"context_management", "cache_control", "thinking", "output_config", "metadata"} & asked.body.keys()
    assert len(asked.body.get("user", "")) <= 64
    assert "c2lnbmF0dXJl" not in body


async def test_long_names_come_back(served: Served, upstream: FakeUpstream, others: dict[str, Family]) -> None:
    family = others["openai"]
    upstream.will(family.streamed(WORDS))
    await post(served, "/v1/messages", {"model": family.model, **BODY})
    short = family.sent(upstream.asked[0]).tools[1]
    upstream.will(family.streamed(Answer(calls=(ToolCall("call_02", short, {}),))))

    _, raw, _ = await post(served, "/v1/messages", {"model": family.model, **BODY})

    assert LONG_NAME in raw.decode()
    assert short not in raw.decode()


async def test_tokens_are_counted_before_sending(
    served: Served, upstream: FakeUpstream, others: dict[str, Family]
) -> None:
    question = {name: BODY[name] for name in ("messages", "system", "tools", "thinking", "context_management")}
    upstream.will(json_answer({"input_tokens": 1234}))

    status, raw, headers = await post(
        served, "/v1/messages/count_tokens", {"model": "anthropic/claude-sonnet-4-5", **question}
    )

    assert (status, json.loads(raw)) == (200, {"input_tokens": 1234})
    assert "X-Router-Estimate" not in headers
    (asked,) = upstream.asked
    assert asked.path.endswith("/v1/messages/count_tokens")
    assert {name.lower(): value for name, value in asked.headers.items()}["anthropic-beta"] == BETAS
    assert not {"max_tokens", "stream"} & asked.body.keys()

    status, raw, headers = await post(
        served, "/v1/messages/count_tokens", {"model": others["openai"].model, **question}
    )

    assert status == 200
    assert json.loads(raw)["input_tokens"] > 300
    assert headers["X-Router-Estimate"] == "true"
    assert len(upstream.asked) == 1


WORDS = Answer(words=("Hi",))
