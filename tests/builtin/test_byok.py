"""Keys that clients bring for providers: encrypted, used in their order, refused one by one, recorded and not charged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from router.builtin.byok.routes import label_of
from router.builtin.byok.vault import Locked, Vault
from router.call import Credential, Endpoint
from router.hookspecs import hookimpl
from router.settings import ByokSettings, EndpointSettings, ModelSettings, PriceSettings, load
from router.tables import SettingsError
from router.testing import FakeUpstream, Running, json_answer

from .test_compat import ANSWER

Start = Callable[..., Awaitable[Running]]
Begin = Callable[..., Awaitable[Running]]
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "test/m", "messages": [{"role": "user", "content": "hello"}]}
SECRET = "a secret of the operator's, long enough"
OWN, OTHER = "sk-client-own-0001", "sk-client-other-0002"
PRICE = PriceSettings(prompt="0.000001", completion="0.000002", request="0.01")


@pytest.fixture
def begin(start: Start, upstream: FakeUpstream) -> Begin:
    """Starts a router with the model `test/m` at the provider `fake`, which has the key `ours` (or none)."""

    async def beginner(*, ours: str = "ours", secret: str = SECRET, providers: tuple[str, ...] = ("fake",)) -> Running:
        provider = {"plugin": "openai", "base_url": upstream.url + "/v1", "api_key": ours}
        endpoints = [EndpointSettings(provider=name, model="m", pricing=PRICE) for name in providers]
        return await start(
            providers=dict.fromkeys(providers, provider),
            models={"test/m": ModelSettings(endpoints=endpoints)},
            byok=ByokSettings(key=secret),
        )

    return beginner


def keyed(upstream: FakeUpstream, *refused: str, status: int = 401) -> None:
    """The upstream answers those keys that it does not refuse."""

    async def answer(request: Any) -> Any:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key in refused:
            return await json_answer({"error": {"message": f"bad key {key}"}}, status=status)(request)
        return await json_answer(ANSWER)(request)

    upstream.will(answer)


def used(upstream: FakeUpstream) -> list[str]:
    """The keys that the upstream was asked with, in order; forgets them."""
    keys = [each.headers["Authorization"].removeprefix("Bearer ") for each in upstream.asked]
    upstream.asked.clear()
    return keys


async def bring(router: Running, key: str, **settings: Any) -> dict[str, Any]:
    body = {"provider": "fake", "key": key, **settings}
    answer = await router.post("/v1/byok", body, key=router.management)
    assert answer.status == 201, await answer.text()
    data: dict[str, Any] = (await answer.json())["data"]
    return data


async def patch(router: Running, id: str, **settings: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.patch(f"{router.url}/v1/byok/{id}", json=settings, headers=headers) as answer:
        return answer.status, await answer.json()


async def asked(router: Running, *, key: str | None = None, **members: Any) -> dict[str, Any]:
    answer = await router.post(CHAT, {**ASK, **members}, key=key)
    assert answer.status == 200, await answer.text()
    body: dict[str, Any] = await answer.json()
    return body | {"generation": answer.headers["X-Generation-Id"]}


# --- use -------------------------------------------------------------------------------------------------------------


async def test_a_clients_key_is_used_recorded_and_not_charged(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    keyed(upstream)
    await bring(router, OWN)

    body = await asked(router)

    assert used(upstream) == [OWN]
    assert body["usage"]["is_byok"] is True
    assert body["usage"]["cost"] == 0
    assert body["usage"]["cost_details"]["upstream_inference_cost"] > 0.01
    row = (await (await router.get(f"/v1/generation?id={body['generation']}")).json())["data"]
    assert row["is_byok"] is True
    assert row["total_cost"] == 0
    assert row["upstream_inference_cost"] > 0.01
    told = (await (await router.get("/v1/key")).json())["data"]
    assert told["usage"] == 0
    assert told["byok_usage"] == row["upstream_inference_cost"]


async def test_a_provider_that_only_has_a_clients_key_is_there_for_that_client(
    begin: Begin, upstream: FakeUpstream
) -> None:
    router = await begin(ours="")
    keyed(upstream, OTHER)
    plain, another = await router.server.keys.create("another")
    mine = router.server.keys.find(router.key)
    assert mine is not None

    async def told(key: str | None = None) -> tuple[str, int, int]:
        (provider,) = (await (await router.get("/v1/providers", key=key)).json())["data"]
        (endpoint,) = (await (await router.get("/v1/models/test/m/endpoints", key=key)).json())["data"]["endpoints"]
        models = (await (await router.get("/v1/models/user", key=key)).json())["data"]
        return provider["status"], endpoint["status"], len([each for each in models if each["id"] == "test/m"])

    assert await told() == ("no_credentials", -5, 0)
    await bring(router, OWN, allowed_api_key_hashes=[mine.hash])
    assert (await told(), await told(plain)) == (("ok", 0, 1), ("no_credentials", -5, 0))
    await bring(router, OTHER, allowed_api_key_hashes=[another.hash])
    assert (await router.post(CHAT, ASK, key=plain)).status == 502
    assert (await told(), await told(plain)) == (("ok", 0, 1), ("down", -3, 0))


async def test_prioritised_keys_then_configured_ones_then_fallbacks(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    keyed(upstream, OWN, OTHER, "ours", status=500)
    await bring(router, "sk-client-last", is_fallback=True)
    await bring(router, OTHER, sort_order=2)
    await bring(router, OWN, sort_order=1)

    body = await asked(router)

    keys = used(upstream)
    assert list(dict.fromkeys(keys)) == [OWN, OTHER, "ours", "sk-client-last"]
    assert body["usage"]["is_byok"] is True


async def test_prioritised_keys_of_one_provider_go_before_the_configured_ones_of_all(
    begin: Begin, upstream: FakeUpstream
) -> None:
    router = await begin(providers=("fake", "zwei"))
    keyed(upstream)
    await bring(router, OWN, provider="zwei")

    for _ in range(10):
        await asked(router)

    assert set(used(upstream)) == {OWN}


async def test_a_provider_without_a_key_of_ours_is_served_by_a_clients(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin(ours="")
    keyed(upstream)
    assert (await router.post(CHAT, ASK)).status >= 400
    made = await bring(router, OWN, is_fallback=True)

    await asked(router)
    assert used(upstream) == [OWN]

    assert (await patch(router, made["id"], disabled=True))[0] == 200
    assert (await router.post(CHAT, ASK)).status >= 400


async def test_a_key_that_the_upstream_refuses_disables_only_itself(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    keyed(upstream, OWN)
    made = await bring(router, OWN)
    await bring(router, OTHER, sort_order=5)

    await asked(router)
    assert used(upstream) == [OWN, OTHER]
    await asked(router)
    assert used(upstream) == [OTHER]

    status, told = await patch(router, made["id"], key="sk-client-better-0003")
    assert (status, told["data"]["label"]) == (200, "sk-...0003")
    await asked(router)
    assert used(upstream) == ["sk-client-better-0003"]


async def test_what_the_upstream_says_of_a_clients_key_is_masked(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin(ours="")
    keyed(upstream, "myveryown", status=400)
    await bring(router, "myveryown")

    answer = await router.post(CHAT, ASK)

    assert answer.status == 400
    assert "***" in await answer.text()
    assert "myveryown" not in await answer.text()


async def test_a_key_may_be_kept_for_some_keys_models_and_users(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    keyed(upstream)
    plain, other = await router.server.keys.create("other", creator_user_id="user_1")

    made = await bring(router, OWN, allowed_api_key_hashes=[other.hash])
    await asked(router)
    await asked(router, key=plain)
    assert used(upstream) == ["ours", OWN]

    rotated, _ = await router.server.keys.rotate(other.hash, grace_s=60)
    await asked(router, key=rotated)
    assert used(upstream) == [OWN]

    await patch(router, made["id"], allowed_api_key_hashes=None, allowed_models=["other/*"])
    await asked(router, key=rotated)
    await patch(router, made["id"], allowed_models=["test/*"], allowed_user_ids=["user_1"])
    await asked(router, key=rotated)
    await asked(router)
    assert used(upstream) == ["ours", OWN, "ours"]


async def test_limits_count_what_a_clients_key_would_cost_only_where_they_say_so(
    begin: Begin, upstream: FakeUpstream
) -> None:
    router = await begin()
    keyed(upstream)
    await bring(router, OWN)
    for name, counts in (("free", False), ("counting", True)):
        plain, _ = await router.server.keys.create(name, limit=10**10, include_byok_in_limit=counts)
        statuses = [(await router.post(CHAT, ASK, key=plain)).status for _ in range(3)]
        assert statuses == ([200, 402, 402] if counts else [200, 200, 200])


# --- keeping ---------------------------------------------------------------------------------------------------------


async def test_keys_are_listed_changed_and_deleted_and_never_shown(begin: Begin, tmp_path: Path) -> None:
    router = await begin()
    made = await bring(router, OWN, name="mine", allowed_models=["a/*"], is_required=False, declared_zdr=None)

    assert made["label"] == "sk-...0001"
    assert (made["is_required"], made["is_byok_only"], made["declared_zdr"]) == (False, False, None)
    assert made["workspace_id"] is None
    listed = await (await router.get("/v1/byok", key=router.management)).json()
    assert listed == {"data": [made], "total_count": 1}
    assert (await (await router.get("/v1/byok?provider=none", key=router.management)).json())["total_count"] == 0
    assert (await (await router.get(f"/api/v1/byok/{made['id']}", key=router.management)).json())["data"] == made

    status, told = await patch(router, made["id"], name=None, allowed_models=None, is_fallback=True, sort_order=3)
    assert status == 200
    assert (told["data"]["name"], told["data"]["allowed_models"], told["data"]["is_fallback"]) == (None, None, True)

    headers = {"Authorization": f"Bearer {router.management}"}
    async with router.session.delete(f"{router.url}/v1/byok/{made['id']}", headers=headers) as answer:
        assert await answer.json() == {"deleted": True}
    assert (await router.get(f"/v1/byok/{made['id']}", key=router.management)).status == 404

    rows = await router.server.database.all("SELECT action, detail FROM audit WHERE action LIKE 'byok.%' ORDER BY seq")
    assert [row[0] for row in rows] == ["byok.create", "byok.update", "byok.delete"]
    files = b"".join(each.read_bytes() for each in tmp_path.rglob("router.db*"))
    assert OWN.encode() not in files


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"provider": "nobody", "key": OWN}, "there are fake"),
        ({"provider": "fake"}, "key"),
        ({"provider": "fake", "key": ""}, "key"),
        ({"provider": "fake", "key": f"{OWN}\n"}, "white space"),
        ({"provider": "fake", "key": "a\r\nX-Other: b"}, "control characters"),
        ({"provider": "fake", "key": OWN, "workspace_id": "nowhere"}, "no workspace 'nowhere'"),
        ({"provider": "fake", "key": OWN, "allowed_api_key_hashes": []}, "null lifts"),
        ({"provider": "fake", "key": OWN, "allowed_api_key_hashes": ["a" * 64]}, "no key aaa"),
        ({"provider": "fake", "key": OWN, "allowed_api_key_hashes": ["A"]}, "allowed_api_key_hashes"),
        ({"provider": "fake", "key": OWN, "colour": "red"}, "colour"),
        ({"provider": "fake", "key": OWN, "is_required": True}, "is_required"),
    ],
)
async def test_what_makes_no_sense_is_refused(begin: Begin, body: dict[str, Any], says: str) -> None:
    router = await begin()

    answer = await router.post("/v1/byok", body, key=router.management)

    assert answer.status == 400
    message = (await answer.json())["error"]["message"]
    assert says in message
    assert OWN not in message


@pytest.mark.parametrize("missing", ["secret", "extra"])
async def test_without_secret_or_extra_it_says_what_is_missing(
    begin: Begin, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = await begin(secret="" if missing == "secret" else SECRET)
    if missing == "extra":
        monkeypatch.setattr("router.builtin.byok.available", lambda: False)

    for answer in (
        await router.get("/v1/byok", key=router.management),
        await router.post("/v1/byok", {"provider": "fake", "key": OWN}, key=router.management),
    ):
        assert answer.status == 501
        error = (await answer.json())["error"]
        assert error["code"] == "not_configured"
        assert "onebox-router[byok]" in error["message"]
        assert "byok.key" in error["message"]


async def test_keys_survive_and_open_only_with_their_secret(begin: Begin, upstream: FakeUpstream) -> None:
    router = await begin()
    keyed(upstream)
    await bring(router, OWN)
    settings = router.server.settings

    settings.byok.key = "another secret that is long enough too"
    await router.server.reload(settings)
    await asked(router)
    assert used(upstream) == ["ours"]

    settings.byok.key = SECRET
    await router.server.reload(settings)
    await asked(router)
    assert used(upstream) == [OWN]


def test_what_is_encrypted_belongs_to_one_secret_and_one_id() -> None:
    vault = Vault(SECRET)
    sealed = vault.close(OWN, "a")

    assert vault.open(sealed, "a") == OWN
    assert OWN.encode() not in sealed
    for other, bytes_, id in (
        (vault, sealed, "b"),
        (Vault("other"), sealed, "a"),
        (vault, sealed[:-1], "a"),
        (vault, b"", "a"),
    ):
        with pytest.raises(Locked):
            other.open(bytes_, id)


def test_a_short_secret_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[byok]\nkey = "short"\n')

    with pytest.raises(SettingsError, match=r"byok\.key: at least 32 characters"):
        load(file, {})


def test_labels_of_short_keys_show_nothing() -> None:
    assert label_of("short") == "..."
    assert label_of("x" * 15) == "..."


class Rented:
    """A plugin that brings a credential of its own, behind the configured ones."""

    @hookimpl
    def router_credentials(self, endpoint: Endpoint) -> list[Credential]:
        return [Credential(secret="rented", label="rented", last=True)] if endpoint.model_id == "test/m" else []


async def test_plugins_bring_credentials_that_are_charged_like_ours(start: Start, upstream: FakeUpstream) -> None:
    provider = {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "ours"}
    endpoints = [EndpointSettings(provider="fake", model="m", pricing=PRICE)]
    router = await start(
        providers={"fake": provider},
        models={"test/m": ModelSettings(endpoints=endpoints)},
        plugins={"rented": Rented()},
    )
    keyed(upstream, "ours")

    body = await asked(router)

    assert used(upstream) == ["ours", "rented"]
    assert body["usage"]["is_byok"] is False
    assert body["usage"]["cost"] > 0


async def test_the_secret_is_not_in_the_configuration_that_is_shown(begin: Begin) -> None:
    router = await begin()

    answer = await router.get("/v1/admin/config", key=router.management)

    assert answer.status == 200
    assert SECRET not in await answer.text()
    assert '"byok":{"key":"***"}' in await answer.text()
