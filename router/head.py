"""What is read of a request before it is known who will serve it: enough for routing, while the body stays bytes."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field


class Preferences(Struct, kw_only=True, forbid_unknown_fields=True):
    """The request's `provider` object (api.md 18). Prices are USD per million tokens as the client sent them."""

    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: str | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[str] | None = None
    sort: str | dict[str, Any] | None = None
    preferred_min_throughput: float | dict[str, float] | None = None
    preferred_max_latency: float | dict[str, float] | None = None
    max_price: dict[str, float | str] | None = None


class Head(Struct, kw_only=True):
    """What routing needs of a request, read once by the dialect's `peek`; large members stay bytes.

    `members` is the whole body by member, undecoded. `prompt_tokens` is an estimate. `needs` are the features that an endpoint must or
    should support, in words of `Model.parameters` (tools, response_format, …); `modalities` the input modalities besides text.
    `decoded` is where the dialect keeps what `peek` has already decoded, for its own `decode`. `unknown` names top-level members that
    the contract does not know. `renamed` maps tool names that were shortened for upstreams to those that the client sent.
    `exclude_reasoning`: the client does not want to see thinking. `hub_only`: the body cannot be relayed as it is.
    `capped`: `max_tokens` is a bound that this surface makes clients name; a model that writes less serves them too. `compress`: a
    prompt that is too long for its model will be made to fit. `converts` are modalities of the request that a plugin
    will turn into text for models that do not take them.
    """

    members: dict[str, Raw] = field(default_factory=dict)
    model: str = ""
    models: list[str] = field(default_factory=list)
    route: str = "fallback"
    preferences: Preferences | None = None
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    max_tokens: int | None = None
    prompt_tokens: int = 0
    needs: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()
    session_id: str | None = None
    cache_key: str | None = None
    user: str | None = None
    trace: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    plugins: list[dict[str, Any]] = field(default_factory=list)
    echo_upstream_body: bool = False
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    exclude_reasoning: bool = False
    hub_only: bool = False
    capped: bool = False
    compress: bool = False
    converts: frozenset[str] = frozenset()
    decoded: Any = None
