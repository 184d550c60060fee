"""Who calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.builtin.auth import ANYBODY
from router.errors import Forbidden, Unauthenticated
from router.server import Server
from router.settings import AuthSettings, ServerSettings, Settings

from .desk import Desk, StillClock

OWN_PAGES = (
    {"Host": "127.0.0.1:8080"},
    {"Host": "[::1]:8080"},
    {"Host": "LocalHost:8080", "Origin": "http://localhost:8080"},
    {"Host": "router.localhost"},
    {"Host": "127.0.0.1:8080", "Origin": "http://localhost:3000"},
    {"Host": "127.0.0.1:8080", "Origin": "file://", "Authorization": "Bearer whatever"},
)
OTHER_PAGES = (
    {"Host": "127.0.0.1:8080", "Origin": "https://other.example"},
    {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8081"},
    {"Host": "127.0.0.1:8080", "Origin": "null"},
    {"Host": "127.0.0.1:8080", "Origin": "http://[x"},
    # its name server leads this name to us
    {"Host": "other.example:8080", "Origin": "http://other.example:8080", "Authorization": "Bearer whatever"},
    {"Host": "[x"},
)


def ask(desk: Desk, key: str | None) -> object:
    """What the hook says to this credential."""
    return desk.hook.router_authenticate(call=desk.call(None, presented=key))


async def test_a_key_is_recognised(desk: Desk) -> None:
    plain, identity = await desk.server.keys.create("one")
    assert ask(desk, plain) == identity


@pytest.mark.parametrize("key", [None, ""])
async def test_a_missing_key_is_told_from_a_wrong_one(desk: Desk, key: str | None) -> None:
    with pytest.raises(Unauthenticated, match="no key was sent"):
        ask(desk, key)
    for wrong in ("x", "sk-rt-v1-" + "A" * 43, "\ud800", "k" * 100_000):
        with pytest.raises(Unauthenticated, match="not valid here") as caught:
            ask(desk, wrong)
        assert wrong not in str(caught.value) or wrong == "x"


async def test_disabled_expired_and_unknown_keys_sound_the_same(desk: Desk) -> None:
    disabled, _ = await desk.server.keys.create("disabled")
    await desk.server.keys.disable("disabled")
    expired, _ = await desk.server.keys.create("expired", expires_unix=4_000_000_000.0)
    assert ask(desk, expired)
    desk.clock.unix = 4_000_000_000.0
    messages = set()
    for key in (disabled, expired, "unknown"):
        with pytest.raises(Unauthenticated) as caught:
            ask(desk, key)
        messages.add(str(caught.value))
    assert len(messages) == 1


async def test_a_management_key_makes_no_calls(desk: Desk) -> None:
    boss = await desk.key(management=True)
    with pytest.raises(Forbidden, match="use an inference key"):
        await desk.admit(desk.call(boss))


async def test_a_key_without_the_scope_makes_no_calls_and_uses_up_no_limit(desk: Desk) -> None:
    key = await desk.key(scopes=frozenset({"models:read"}), rpm=1)
    for _ in range(3):
        with pytest.raises(Forbidden, match="'inference'"):
            await desk.admit(desk.call(key))
    assert desk.ledger.rate_limit(key)[1] == 1


async def test_open_mode_takes_any_key_or_none(tmp_path: Path) -> None:
    settings = Settings(
        server=ServerSettings(database=str(tmp_path / "router.db"), cors_origins=["http://localhost:3000"]),
        auth=AuthSettings(mode="open"),
        providers={},
    )
    server = Server(settings, {})
    await server.start()
    try:
        desk = Desk(server, StillClock())
        plain, identity = await server.keys.create("one")
        assert ask(desk, None) is ANYBODY
        assert ask(desk, "whatever") is ANYBODY
        assert ask(desk, plain) == identity
        for headers in OWN_PAGES:
            assert desk.hook.router_authenticate(call=desk.call(None, headers=headers)) is ANYBODY
        for headers in OTHER_PAGES:
            with pytest.raises(Forbidden, match="no page of another site"):
                desk.hook.router_authenticate(call=desk.call(None, headers=headers))
            assert desk.hook.router_authenticate(call=desk.call(None, presented=plain, headers=headers)) == identity
        own = {"Host": "llm.example.org", "Origin": "https://llm.example.org"}
        settings.server.public_url = "https://llm.example.org"
        for headers in (
            own,
            own | {"Host": "127.0.0.1:8080"},
            own | {"Host": "LLM.example.org"},
            {"Host": own["Host"]},
        ):
            assert desk.hook.router_authenticate(call=desk.call(None, headers=headers)) is ANYBODY
        for headers in (*OTHER_PAGES, own | {"Origin": "https://other.example"}, own | {"Host": "other.example"}):
            with pytest.raises(Forbidden, match=r"as server\.public_url says"):
                desk.hook.router_authenticate(call=desk.call(None, headers=headers))
        await desk.admit(desk.call(ANYBODY))
        call = desk.start(desk.call(ANYBODY))
        row = desk.leave(call)
        assert call.settled is not None
        await call.settled
        assert await server.generations.find(row.id, ANYBODY) == row
    finally:
        await server.stop()
