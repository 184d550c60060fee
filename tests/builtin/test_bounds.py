"""What is remembered of requests has a bound, whatever clients write into them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from router.builtin import metrics
from router.builtin.routing import fitness
from router.testing import FakeUpstream, Running, json_answer

from .test_compat import ANSWER, ASK

Start = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"


async def test_long_preferences_are_not_remembered(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(ANSWER))

    for names in ([f"provider-{number}" for number in range(10_000)], ["fake"]):
        answer = await router.post(CHAT, ASK | {"provider": {"order": names}})
        assert answer.status == 200

    kinds = [kind for pool in router.server.table.pools.values() for kind in pool.suitable]
    assert len(kinds) == 1
    assert len(str(kinds)) < fitness.LONGEST_KIND


async def test_models_beyond_some_are_counted_together(
    router: Running, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_MODELS", 2)
    upstream.will(json_answer(ANSWER))

    for number in (1, 2, 3, 4, 1):
        await router.post(CHAT, ASK | {"model": f"fake/m{number}"})
    told = await (await router.get("/metrics")).text()

    counted = [line for line in told.splitlines() if line.startswith("router_attempts_total{")]
    assert len(counted) == 3
    assert any('model="others"' in line and line.endswith(" 2") for line in counted)
