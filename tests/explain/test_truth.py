"""What an explanation says is what happens: a thousand requests over a table, each explained, run, and judged by rules of its own.

`oracle` knows the rules; it shares no line with the router. Providers are all `echo`, which needs no network.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from router.call import Call, Sink
from router.errors import RouterError
from router.identity import Identity
from router.settings import EndpointSettings, ModelSettings, PriceSettings, RoutingSettings
from router.testing import Running

from .oracle import Fact, Verdict, Wanted, judged

Start = Callable[..., Awaitable[Running]]
REQUESTS = 1000
TRAINING = {"p2", "p4"}
SLUGS = [f"p{number}" for number in range(6)]
ALIASES = {"fast": ["acme/m0", "acme/m3"], "deep": ["acme/m5"]}
#: nothing that is asked for comes near to one of these
CONTEXTS, OUTPUTS, PROMPTS, BOUNDS = (1000, 8000, 32000), (1000, 16000), (100, 3000), (None, 50, 500, 2000, 6000)
PARAMETERS = ("tools", "seed", "temperature", "max_tokens")


def made_table(rng: random.Random) -> dict[str, list[Fact]]:
    """Eight models of one to five endpoints."""
    return {
        (id := f"acme/m{number}"): [
            Fact(
                model=id,
                provider=slug,
                price=rng.choice((0, 0, 1, 2, 3)),
                priority=rng.choice((0, 0, 1)),
                context=rng.choice(CONTEXTS),
                output=rng.choice(OUTPUTS),
                zdr=rng.random() < 0.5,
                training=slug in TRAINING,
                quantization=rng.choice(("fp8", "bf16")),
                parameters=frozenset(name for name in PARAMETERS if rng.random() < 0.7),
            )
            for slug in rng.sample(SLUGS, rng.randint(1, 5))
        ]
        for number in range(8)
    }


def made_wanted(rng: random.Random, table: Mapping[str, list[Fact]]) -> Wanted:
    """A request, with each preference now and then."""

    def now_and_then(value: Any, chance: float = 0.15) -> Any:
        return value if rng.random() < chance else None

    some = lambda: rng.sample(SLUGS, rng.randint(1, 4))  # noqa: E731  # drawn anew for each
    provider = {
        "only": now_and_then(some()),
        "ignore": now_and_then(some()),
        "order": now_and_then(some(), 0.25),
        "allow_fallbacks": now_and_then(False),
        "zdr": now_and_then(True),
        "data_collection": now_and_then("deny"),
        "quantizations": now_and_then([rng.choice(("fp8", "bf16"))]),
        "max_price": now_and_then({"prompt": rng.choice((0, 1, 2))}),
        "require_parameters": now_and_then(True),
        "sort": now_and_then("price"),
    }
    names = rng.sample([*table, *ALIASES], rng.choice((1, 1, 1, 2, 3)))
    capped = rng.random() < 0.2
    needs = {name for name in PARAMETERS[:3] if rng.random() < 0.3 and not (capped and name == "seed")}
    bound = rng.choice(BOUNDS[1:] if capped else BOUNDS)
    if bound and not capped:
        needs.add("max_tokens")
    kept = {name: value for name, value in provider.items() if value is not None}
    if capped:
        kept.pop("require_parameters", None)
    return Wanted(
        names=[name + rng.choice(("", "", "", "", ":floor", ":free", ":extended")) for name in names],
        provider=kept,
        needs=frozenset(needs),
        prompt=rng.choice(PROMPTS),
        max_tokens=bound or 0,
        route=rng.choice(("fallback", "fallback", "sort")),
        forced=now_and_then(rng.choice(SLUGS), 0.1) or "",
        allowed=now_and_then(some()),
        capped=capped,
    )


def body_of(wanted: Wanted) -> dict[str, Any]:
    """The request as a client sends it."""
    body: dict[str, Any] = {
        "model": wanted.names[0],
        "models": wanted.names[1:],
        "messages": [{"role": "user", "content": "abc " * wanted.prompt}],
        "provider": wanted.provider,
        "route": wanted.route,
    }
    if wanted.max_tokens:
        body["max_tokens"] = wanted.max_tokens
    if "tools" in wanted.needs:
        function = {"name": "f", "parameters": {"type": "object"}}
        tool = {"name": "f", "input_schema": {"type": "object"}}
        body["tools"] = [tool if wanted.capped else {"type": "function", "function": function}]
    for name in wanted.needs & {"seed", "temperature"}:
        body[name] = 1
    return body


class Memory(Sink):
    """Keeps the end of a call."""

    body = b""
    failure: RouterError | None = None

    async def finish(self, data: bytes) -> None:
        self.body = data

    async def error(self, error: RouterError) -> None:
        self.failure = error


async def run(router: Running, wanted: Wanted, *, dry: bool) -> tuple[Call, Memory]:
    """The request, run or only explained."""
    server, sink = router.server, Memory()
    name = "anthropic.messages" if wanted.capped else "openai.chat"
    dialect = next(each for each in server.dialects if each.name == name)
    call = Call(
        dialect=dialect,
        body=b"",
        headers={"x-router-provider": wanted.forced} if wanted.forced else {},
        path={},
        presented=None,
        started_s=server.clock.monotonic(),
        asked_path=f"/v1{dialect.paths[0].path}",
    )
    call.identity = Identity(hash="k", id="k", name="k", allowed_providers=wanted.allowed)
    call.deadline_s, call.compat, call.server, call.dry = call.started_s + 60, server.compat, server, dry
    body = msgspec.json.encode(body_of(wanted))

    async def read() -> bytes:
        return body

    await server.lifecycle.execute(call, sink, read)
    return call, sink


@pytest.fixture
def table() -> dict[str, list[Fact]]:
    return made_table(random.Random(11))


@pytest.fixture
async def router(start: Start, table: dict[str, list[Fact]]) -> Running:
    return await start(
        providers={slug: {"plugin": "echo", "training": slug in TRAINING, "unknown_models": False} for slug in SLUGS},
        models={
            id: ModelSettings(
                endpoints=[
                    EndpointSettings(
                        provider=fact.provider,
                        model="echo",
                        pricing=PriceSettings(prompt=f"{fact.price}e-6", completion=f"{fact.price}e-6"),
                        priority=fact.priority,
                        context_length=fact.context,
                        max_output=fact.output,
                        zdr=fact.zdr,
                        quantization=fact.quantization,
                        supported_parameters=sorted(fact.parameters),
                    )
                    for fact in facts
                ]
            )
            for id, facts in table.items()
        },
        aliases=ALIASES,
        routing=RoutingSettings(deterministic=True),
    )


def explained(sink: Memory) -> dict[str, Any]:
    """The explanation, of a refusal too."""
    if sink.failure is None:
        told: dict[str, Any] = msgspec.json.decode(sink.body)
        return told
    assert sink.failure.report is not None
    return sink.failure.report["explanation"]  # type: ignore[no-any-return]


def assert_true(told: dict[str, Any], verdict: Verdict) -> None:
    """The order is the right one, and of everybody else a reason is told that holds."""
    assert [each["endpoint"] for each in told["candidates"]] == [fact.name for fact in verdict.order]
    reasons = {each["endpoint"]: each["reason"] for each in told["filtered"]}
    assert reasons.keys() == verdict.against.keys()
    for name, reason in reasons.items():
        assert reason.partition(": ")[0] in verdict.against[name], (name, reason, verdict.against[name])


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_explain_equals_reality(router: Running, table: dict[str, list[Fact]]) -> None:
    """The first endpoint that is named is the one that serves; each reason is right; what would be refused is refused alike."""
    rng = random.Random(4)
    seen: dict[str, int] = {}
    for _ in range(REQUESTS):
        wanted = made_wanted(rng, table)
        _, dry = await run(router, wanted, dry=True)
        call, real = await run(router, wanted, dry=False)

        told = explained(dry)
        assert_true(told, judged(table, ALIASES, wanted))
        if dry.failure is not None:
            assert real.failure is not None
            assert (real.failure.status, real.failure.message) == (dry.failure.status, dry.failure.message)
        else:
            assert real.failure is None, real.failure
            assert call.candidate is not None
            served = f"{call.candidate.endpoint.tag}: {call.candidate.endpoint.model_id}"
            assert served == told["candidates"][0]["endpoint"]
        for reason in ["served" if dry.failure is None else "refused", *(each["reason"] for each in told["filtered"])]:
            kind = reason.partition(": ")[0]
            seen[kind] = seen.get(kind, 0) + 1

    reasons = "key allowed_providers data_policy:zdr data_policy:training quantization max_price require_parameters context_length"
    assert min(seen.get(kind, 0) for kind in ("served", "refused", *reasons.split())) >= 30, seen


#: how a cause is taken out of a request, by what is told of it
REMOVED: dict[str, Callable[[Wanted], None]] = {
    "key": lambda wanted: setattr(wanted, "allowed", None),
    "allowed_providers: X-Router-Provider": lambda wanted: setattr(wanted, "forced", ""),
    "allowed_providers: provider.order": lambda wanted: wanted.provider.pop("allow_fallbacks"),
    "allowed_providers: provider.only": lambda wanted: wanted.provider.pop("only"),
    "allowed_providers: provider.ignore": lambda wanted: wanted.provider.pop("ignore"),
    "data_policy:zdr": lambda wanted: wanted.provider.pop("zdr"),
    "data_policy:training": lambda wanted: wanted.provider.pop("data_collection"),
    "quantization": lambda wanted: wanted.provider.pop("quantizations"),
    "max_price": lambda wanted: wanted.provider.pop("max_price"),
    "require_parameters: others": lambda wanted: setattr(wanted, "needs", wanted.needs - {"tools"}),
    "require_parameters": lambda wanted: wanted.provider.pop("require_parameters"),
    "context_length": lambda wanted: (
        setattr(wanted, "max_tokens", 50),
        setattr(wanted, "prompt", 100),
    ),
}


async def test_what_was_removed_comes_back_without_its_cause(router: Running, table: dict[str, list[Fact]]) -> None:
    """Cause after cause is taken away, as they are told, until nothing more is told of the endpoint: then it is a candidate."""
    rng = random.Random(7)
    back = 0
    for _ in range(120):
        wanted = made_wanted(rng, table)
        wanted.provider.pop("allow_fallbacks", None)
        _, dry = await run(router, wanted, dry=True)
        if not (filtered := explained(dry)["filtered"]):
            continue
        name = rng.choice(filtered)["endpoint"]
        for _ in range(len(REMOVED)):
            told = explained(dry)
            reason = next((each["reason"] for each in told["filtered"] if each["endpoint"] == name), None)
            if reason is None:
                break
            next(remove for known, remove in REMOVED.items() if reason.startswith(known))(wanted)
            _, dry = await run(router, wanted, dry=True)
        assert name in {each["endpoint"] for each in told["candidates"]}
        back += 1
    assert back > 60
