"""How the names in requests are read (api.md 18.1), by requests over sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import Model, Provider, hookimpl
from router.openai_compatible import OpenAICompatible
from router.planning import closest
from router.settings import EndpointSettings, ModelSettings, RoutingSettings, Settings, SettingsError
from router.testing import FakeUpstream, Running, completion, json_answer

Start = Callable[..., Awaitable[Running]]

NAMES = [
    f"maker-{maker}/{line}-{number}"
    for maker in "abcd"
    for line in ("chat", "embed", "small-chat")
    for number in range(30)
]
HELLO = [{"role": "user", "content": "hello"}]


class Maker(OpenAICompatible):
    """A maker of models with several of one line, one of them given up."""

    name = "maker"

    def catalogue(self) -> list[Model]:
        """Its models."""
        return [
            Model(id="sonnet-1", created=100),
            Model(id="sonnet-2", created=200),
            Model(id="sonnet-2-mini", created=200),
            Model(id="sonnet-0", created=900, deprecated=True),
            Model(id="sonneteer", created=800),
            Model(id="shared", created=1),
        ]


class Plugin:
    @hookimpl
    def router_providers(self) -> Sequence[type[Provider]]:
        return [Maker]


async def begin(start: Start, upstream: FakeUpstream, **tables: Any) -> Running:
    """Two instances of the maker, `one` and `two`."""
    upstream.will(json_answer(completion()))
    facts = {"plugin": "maker", "base_url": upstream.url + "/v1", "api_key": "k"}
    providers = {"one": facts, "two": facts} | tables.pop("providers", {})
    return await start(plugins={"maker": Plugin()}, providers=providers, **tables)


async def asked(router: Running, model: str, **headers: str) -> tuple[int, str, str]:
    """Status, provider and model of the answer, which is asked for by this name."""
    answer = await router.post("/v1/chat/completions", {"model": model, "messages": HELLO}, headers=headers)
    return answer.status, answer.headers.get("X-Router-Provider", ""), answer.headers.get("X-Router-Model", "")


async def code(router: Running, model: str, **headers: str) -> tuple[int, str | None]:
    """Status and availability code of a refusal."""
    answer = await router.post("/v1/chat/completions", {"model": model, "messages": HELLO}, headers=headers)
    return answer.status, ((await answer.json())["error"].get("availability") or {}).get("code")


@pytest.mark.parametrize("name", ["~one/sonnet-latest", "~one/sonnet-latest:nitro", "newest"])
async def test_latest_is_the_newest_of_its_line_that_nobody_gives_up(
    start: Start, upstream: FakeUpstream, name: str
) -> None:
    router = await begin(start, upstream, aliases={"newest": ["~one/sonnet-latest"]})

    assert await asked(router, name) == (200, "one", "one/sonnet-2")


async def test_latest_of_nothing_is_404(start: Start, upstream: FakeUpstream) -> None:
    router = await begin(start, upstream)

    for name in ("~one/haiku-latest", "~one/sonnet", "~sonnet-latest"):
        assert await code(router, name) == (404, "model_not_found")


async def test_a_bare_name_that_several_have_is_refused(start: Start, upstream: FakeUpstream) -> None:
    router = await begin(start, upstream)

    answer = await router.post("/v1/chat/completions", {"model": "shared", "messages": HELLO})

    assert answer.status == 400
    assert "one/shared, two/shared" in (await answer.json())["error"]["message"]


async def test_the_default_provider_takes_bare_names_that_are_ambiguous_or_unknown(
    start: Start, upstream: FakeUpstream
) -> None:
    router = await begin(start, upstream, routing=RoutingSettings(default_provider="two"))

    assert await asked(router, "shared") == (200, "two", "two/shared")
    assert await asked(router, "shared:floor") == (200, "two", "two/shared")
    assert await asked(router, "never-heard-of") == (200, "two", "two/never-heard-of")
    assert await code(router, "nobody/never-heard-of") == (404, "model_not_found")


def test_a_default_provider_must_be_there() -> None:
    from router.planning import Table

    with pytest.raises(SettingsError, match=r"routing\.default_provider: no provider 'x'"):
        Table({}, {}, Settings(routing=RoutingSettings(default_provider="x")))


async def test_a_forced_provider_settles_a_bare_name(start: Start, upstream: FakeUpstream) -> None:
    router = await begin(
        start,
        upstream,
        providers={
            "strict": {
                "plugin": "maker",
                "base_url": upstream.url + "/v1",
                "api_key": "k",
                "unknown_models": False,
            }
        },
        aliases={"nick": ["one/sonnet-1"]},
    )

    assert await asked(router, "shared", **{"X-Router-Provider": "two"}) == (200, "two", "two/shared")
    assert await asked(router, "shared:nitro", **{"X-Router-Provider": "two"}) == (200, "two", "two/shared")
    assert await asked(router, "new-one", **{"X-Router-Provider": "two"}) == (200, "two", "two/new-one")
    assert await asked(router, "new/one", **{"X-AnyRouter-Provider": "two"}) == (200, "two", "two/new/one")
    assert await asked(router, "two/sonnet-1", **{"X-Router-Provider": "two"}) == (200, "two", "two/sonnet-1")
    # An alias means its models, which another provider does not have; a provider that takes no unknown models takes none here.
    assert await code(router, "nick", **{"X-Router-Provider": "two"}) == (404, "constraint_filtered")
    assert await code(router, "new-one", **{"X-Router-Provider": "strict"}) == (404, "model_not_found")


async def test_a_forced_provider_is_remembered_for_no_other_request(start: Start, upstream: FakeUpstream) -> None:
    router = await begin(start, upstream, routing=RoutingSettings(default_provider="one"))

    assert await asked(router, "shared", **{"X-Router-Provider": "two"}) == (200, "two", "two/shared")
    assert await asked(router, "shared") == (200, "one", "one/shared")
    assert await asked(router, "shared", **{"X-Router-Provider": "two"}) == (200, "two", "two/shared")


@pytest.mark.parametrize(
    "wanted", [{"headers": {"X-Router-Provider": "one/fast"}}, {"provider": {"only": ["one/fast"]}}]
)
async def test_a_variant_names_one_of_a_provider_s_endpoints(
    start: Start, upstream: FakeUpstream, wanted: dict[str, Any]
) -> None:
    endpoints = [
        EndpointSettings(provider="one", model="slow"),
        EndpointSettings(provider="one", model="quick", variant="fast"),
    ]
    router = await begin(start, upstream, models={"acme/m": ModelSettings(endpoints=endpoints)})

    for _ in range(4):
        body = {"model": "acme/m", "messages": HELLO, **{k: v for k, v in wanted.items() if k != "headers"}}
        assert (await router.post("/v1/chat/completions", body, headers=wanted.get("headers"))).status == 200

    assert {each.body["model"] for each in upstream.asked} == {"quick"}


async def test_several_credentials_are_used_in_turn(start: Start, upstream: FakeUpstream) -> None:
    facts = {"plugin": "maker", "base_url": upstream.url + "/v1", "api_keys": ["first", "second", "third"]}
    router = await begin(start, upstream, providers={"many": facts})

    for _ in range(6):
        assert (await asked(router, "many/shared"))[0] == 200

    used = Counter(each.headers["Authorization"] for each in upstream.asked)
    assert used == {f"Bearer {each}": 2 for each in ("first", "second", "third")}


async def test_a_model_of_several_endpoints_and_an_alias_of_several_models(
    start: Start, upstream: FakeUpstream
) -> None:
    endpoints = [EndpointSettings(provider=each, model="shared") for each in ("one", "two")]
    router = await begin(
        start,
        upstream,
        models={"acme/m": ModelSettings(endpoints=endpoints)},
        aliases={"pair": ["one/sonnet-1", "acme/m"]},
    )
    upstream.will(*[json_answer({"error": {"message": "busy"}}, status=503)] * 4, json_answer(completion()))

    status, _, model = await asked(router, "pair")

    assert status == 200
    assert upstream.asked[0].body["model"] == "sonnet-1"
    assert (model, upstream.asked[-1].body["model"]) == ("acme/m", "shared")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/chat/completions", {"messages": HELLO, "model": ""}),
        ("/v1/chat/completions", {"messages": HELLO, "model": None}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/completions", {"prompt": "hello"}),
    ],
)
async def test_a_request_without_a_model_gets_the_default(
    start: Start, upstream: FakeUpstream, path: str, body: dict[str, Any]
) -> None:
    router = await begin(start, upstream, routing=RoutingSettings(default_model="one/sonnet-1"))
    key, _ = await router.server.keys.create("mine", default_model="two/sonnet-2")

    plain, own = await router.post(path, body), await router.post(path, body, key=key)

    assert (plain.status, plain.headers["X-Router-Model"]) == (200, "one/sonnet-1")
    assert (own.status, own.headers["X-Router-Model"]) == (200, "two/sonnet-2")


async def test_without_any_default_a_model_is_needed(start: Start, upstream: FakeUpstream) -> None:
    router = await begin(start, upstream)

    for path, body in (
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 9}),
        ("/v1/responses", {"input": "hello"}),
    ):
        assert (await router.post(path, body)).status == 400


async def test_models_that_are_given_up_can_be_left_out(start: Start, upstream: FakeUpstream) -> None:
    kept = await begin(start, upstream)
    router = await begin(
        start,
        upstream,
        routing=RoutingSettings(deprecated_models=False),
        models={"two/sonnet-0": ModelSettings(name="as long as it lasts")},
    )

    assert await asked(kept, "one/sonnet-0") == (200, "one", "one/sonnet-0")
    assert await code(router, "one/sonnet-0") == (404, "model_deprecated")
    assert await asked(router, "two/sonnet-0") == (200, "two", "two/sonnet-0")
    listed = {each["id"] for each in (await (await router.get("/v1/models")).json())["data"]}
    assert "one/sonnet-0" not in listed
    assert "two/sonnet-0" in listed


@given(st.sampled_from(NAMES), st.integers(0, 12), st.text("abcxyz-/.0123", max_size=2))
def test_a_misspelt_name_finds_what_a_comparison_with_all_finds(name: str, at: int, letters: str) -> None:
    misspelt = name[:at] + letters + name[at + 1 :]

    assert closest(misspelt, NAMES, 3)[:1] == get_close_matches(misspelt, NAMES, n=3, cutoff=0.6)[:1]
