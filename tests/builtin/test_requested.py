"""What a request asks for by name: plugins, and variants of models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from router import Call, hookimpl
from router.testing import FakeUpstream, Running, json_answer

from .test_compat import ANSWER, ASK

Start = Callable[..., Awaitable[Running]]


class Mine:
    """A plugin that requests may ask for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def router_request_plugins(self) -> Sequence[str]:
        return ("shout",)

    @hookimpl
    async def router_admit(self, call: Call) -> None:
        self.seen.append(call.head.plugins)


async def started(start: Start, upstream: FakeUpstream) -> tuple[Running, Mine]:
    upstream.will(json_answer(ANSWER))
    mine = Mine()
    providers = {"fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"}}
    return await start(providers=providers, plugins={"mine": mine}), mine


@pytest.mark.parametrize("members", [{"plugins": [{"id": "shout", "loud": 1}]}, {"transforms": ["shout"]}], ids=str)
async def test_a_plugin_is_asked_for_by_its_id(start: Start, upstream: FakeUpstream, members: dict[str, Any]) -> None:
    router, mine = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ASK | members)

    assert answer.status == 200
    assert [each["id"] for each in mine.seen[0]] == ["shout"]
    assert not {"plugins", "transforms"} & upstream.asked[0].body.keys()


@pytest.mark.parametrize(
    ("members", "status", "code", "param"),
    [
        ({"plugins": [{"id": "nobody"}]}, 400, "invalid_request", "plugins"),
        ({"transforms": ["nobody"]}, 400, "invalid_request", "transforms"),
        ({"plugins": [{"id": "web"}]}, 501, "not_configured", "plugins"),
        ({"model": "fake/m:online"}, 501, "not_configured", "plugins"),
    ],
    ids=str,
)
async def test_names_that_nobody_answers_to(
    start: Start, upstream: FakeUpstream, members: dict[str, Any], status: int, code: str, param: str
) -> None:
    router, _ = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ASK | members)
    error = (await answer.json())["error"]

    assert (answer.status, error["code"], error["param"]) == (status, code, param)
    assert not upstream.asked


async def test_one_that_is_switched_off_is_not_asked_for(start: Start, upstream: FakeUpstream) -> None:
    router, mine = await started(start, upstream)

    answer = await router.post("/v1/chat/completions", ASK | {"plugins": [{"id": "web", "enabled": False}]})

    assert (answer.status, mine.seen) == (200, [[]])
