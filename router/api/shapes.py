"""What answers look like that handlers make as plain dictionaries, for the OpenAPI document; they may have more members than these.

They are plain because they are made by the thousand and sent as they are. The tests hold every answer against them.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

# --- models (models, google) -----------------------------------------------------------------------------------------


class Architecture(TypedDict):
    """What goes into a model and comes out."""

    modality: str
    input_modalities: list[str]
    output_modalities: list[str]
    tokenizer: str
    instruct_type: str | None


class Pricing(TypedDict):
    """USD per token or piece, as decimal strings; "-1": nobody knows."""

    prompt: str
    completion: str
    request: str
    image: str
    web_search: str


class TopProvider(TypedDict):
    """Where a model goes first. Lengths are tokens."""

    context_length: int | None
    max_completion_tokens: int | None
    is_moderated: bool


class Model(TypedDict):
    """A model, with the members of all services' lists."""

    id: str
    object: Literal["model"]
    type: Literal["model"]
    created: int
    created_at: str
    owned_by: str
    name: str
    display_name: str
    canonical_slug: str
    description: str
    provider: str
    category: str
    context_length: int | None
    knowledge_cutoff: str | None
    architecture: Architecture
    pricing: Pricing
    top_provider: TopProvider
    supported_parameters: list[str]
    capabilities: dict[str, bool]
    capability_list: list[str]
    links: dict[str, str]


class ModelFound(TypedDict):
    """One model."""

    data: Model


class Links(TypedDict):
    """Where the list goes on."""

    next: str | None


class ModelList(TypedDict):
    """A page of models."""

    object: Literal["list"]
    data: list[Model]
    total_count: int
    links: Links
    has_more: bool
    first_id: str | None
    last_id: str | None


class Number(TypedDict):
    """How many."""

    count: int


class Count(TypedDict):
    """How many, in both layouts."""

    count: int
    data: Number


class GoogleModel(TypedDict):
    """A model as Google lists it."""

    name: str
    version: str
    displayName: str
    description: str
    supportedGenerationMethods: list[str]


class GoogleModelList(TypedDict):
    """A page of them."""

    models: list[GoogleModel]


# --- endpoints and providers -----------------------------------------------------------------------------------------


class Percentiles(TypedDict):
    """Milliseconds, or tokens per second."""

    p50: float
    p75: float
    p90: float
    p99: float


class Endpoint(TypedDict):
    """Who serves a model, and how that is going. Uptimes are percent; null where nothing was measured."""

    name: str
    model_id: str
    model_name: str
    provider_name: str
    tag: str
    context_length: int
    max_completion_tokens: int | None
    max_prompt_tokens: int | None
    quantization: str
    status: Literal[0, -1, -2, -3, -5, -10]
    pricing: Pricing
    supported_parameters: list[str]
    supports_implicit_caching: bool
    uptime_last_5m: float | None
    uptime_last_30m: float | None
    uptime_last_1d: float | None
    latency_last_30m: Percentiles | None
    throughput_last_30m: Percentiles | None


class EndpointList(TypedDict):
    """Endpoints of all models."""

    data: list[Endpoint]


class ServedModel(TypedDict):
    """A model and its endpoints."""

    id: str
    name: str
    created: int
    description: str
    architecture: Architecture
    endpoints: list[Endpoint]


class ServedModelFound(TypedDict):
    """One of them."""

    data: ServedModel


class DataPolicy(TypedDict):
    """What an upstream does with what it is sent."""

    zdr: bool
    training: bool


class Provider(TypedDict):
    """A configured upstream."""

    slug: str
    name: str
    status: Literal["ok", "degraded", "down", "no_credentials"]
    plugin: str | None
    plugin_version: str | None
    dialect: str | None
    models: int
    base_url: str | None
    privacy_policy_url: str | None
    terms_of_service_url: str | None
    status_page_url: str | None
    data_policy: DataPolicy


class ProviderList(TypedDict):
    """All of them."""

    data: list[Provider]


class ProviderHealth(TypedDict):
    """How a provider does. `cooldown_until` is unix seconds."""

    slug: str
    status: Literal["ok", "degraded", "down", "no_credentials"]
    latency_ms: float | None
    last_error: str | None
    cooldown_until: int | None


class Alive(TypedDict):
    """The loop runs."""

    status: Literal["ok"]


class Health(TypedDict):
    """How the router does."""

    status: Literal["ok", "degraded", "down"]
    version: str
    uptime_seconds: int
    providers: list[ProviderHealth]
    database: str


# --- records of calls ------------------------------------------------------------------------------------------------


class Tokens(TypedDict):
    """What a call consumed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TokensAndCost(Tokens):
    """And what it cost, in USD; null: nobody knows."""

    cost: float | None
    is_byok: bool
    cost_details: dict[str, float | None]


class Attempt(TypedDict):
    """An upstream that was asked; status null: no answer came."""

    provider_name: str
    model_permaslug: str
    status: int | None
    latency: float
    is_byok: bool


class Record(TypedDict):
    """A call as clients of OpenRouter read it. Times are milliseconds, money USD; `usage` is the cost for some of them."""

    id: str
    request_id: str
    upstream_id: str | None
    model: str
    created_at: str
    origin: str
    http_referer: str | None
    app_title: str | None
    user_agent: str | None
    external_user: str | None
    session_id: str | None
    trace_id: str | None
    tags: list[str]
    preset_id: str | None
    api_type: str
    streamed: bool
    cancelled: bool
    finish_reason: str | None
    native_finish_reason: str | None
    provider_name: str | None
    provider_responses: list[Attempt]
    service_tier: str | None
    latency: float
    generation_time: float
    moderation_latency: float | None
    tokens_prompt: int
    tokens_completion: int
    native_tokens_prompt: int
    native_tokens_completion: int
    native_tokens_reasoning: int
    native_tokens_cached: int
    num_media_completion: int | None
    num_search_results: int | None
    total_cost: float
    usage: Tokens | float
    usage_tokens: Tokens
    upstream_inference_cost: float | None
    cache_discount: float | None
    is_byok: bool
    response_cache_source_id: str | None


class GenerationFound(TypedDict):
    """The record of a call in both layouts."""

    id: str
    model: str
    provider: str
    created_at: str
    latency_ms: float
    status: str
    usage: TokensAndCost
    data: Record


# --- the key that asks -----------------------------------------------------------------------------------------------


class Budget(TypedDict):
    """A limit of the key, in USD."""

    include_byok: bool
    limit_usd: float
    remaining_usd: float
    reset_interval: str | None
    resets_at: str | None
    scope: str
    spend_usd: float


class CurrentKey(TypedDict):
    """What a key may know about itself: the members of a key, and these."""

    hash: str
    name: str
    label: str
    limit: float | None
    limit_remaining: float | None
    limit_reset: str | None
    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    byok_usage: float
    scopes: list[str]
    rate_limit: dict[str, Any]
    expires_at: str | None
    is_free_tier: bool
    is_management_key: bool
    is_provisioning_key: bool
    budgets: list[Budget]
    effective_budget: Budget | None


class CurrentKeyFound(TypedDict):
    """The key that asks."""

    data: CurrentKey


# --- presets ---------------------------------------------------------------------------------------------------------


class PresetVersion(TypedDict):
    """One version of a preset."""

    id: str
    preset_id: str
    version: int
    creator_id: str
    system_prompt: str | None
    config: dict[str, Any]
    created_at: str
    updated_at: str


class Preset(TypedDict):
    """A preset."""

    id: str
    slug: str
    name: str
    status: str
    created_at: str
    updated_at: str


class WholePreset(Preset):
    """And the version that is in force."""

    designated_version: PresetVersion


class PresetList(TypedDict):
    """Presets."""

    data: list[Preset]
    total_count: int


class PresetFound(TypedDict):
    """One of them."""

    data: WholePreset


class PresetVersionList(TypedDict):
    """All its versions."""

    data: list[PresetVersion]
    total_count: int


class PresetVersionFound(TypedDict):
    """One of them."""

    data: PresetVersion


class Deleted(TypedDict):
    """It is gone."""

    deleted: Literal[True]


# --- analytics -------------------------------------------------------------------------------------------------------


class AnalyticsNames(TypedDict):
    """What can be asked for, each with `name` and how it is shown."""

    metrics: list[dict[str, Any]]
    dimensions: list[dict[str, Any]]
    operators: list[dict[str, Any]]
    granularities: list[dict[str, Any]]


class AnalyticsMeta(TypedDict):
    """That."""

    data: AnalyticsNames


class AnalyticsMetadata(TypedDict):
    """About the answer."""

    query_time_ms: float
    row_count: int
    truncated: bool


class AnalyticsRows(TypedDict):
    """Rows of the metrics and dimensions that were asked for."""

    data: list[dict[str, Any]]
    metadata: AnalyticsMetadata


class AnalyticsAnswer(TypedDict):
    """The same, for who asks as clients of OpenRouter do."""

    data: AnalyticsRows


# --- what would have been --------------------------------------------------------------------------------------------


class SimulatedLine(TypedDict):
    """Sums of calls; money is USD."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    unserved_requests: int
    unpriced_requests: float
    actual_cost: float
    simulated_cost: float
    difference: float


class SimulatedModel(SimulatedLine):
    """Of one model."""

    model: str
    actual: list[dict[str, Any]]
    simulated: list[dict[str, Any]]


class Simulation(TypedDict):
    """What the calls of a period cost, and would have cost."""

    object: Literal["simulation"]
    start: str
    end: str
    policy: dict[str, Any]
    total: SimulatedLine
    models: list[SimulatedModel]
    providers: list[dict[str, Any]]
    unserved: list[dict[str, Any]]
    left_out: dict[str, int]


class Explanation(TypedDict):
    """Where a call would go, and why."""

    object: Literal["explanation"]
    endpoint: str
    requested_models: list[str]
    strategy: str
    candidates: list[dict[str, Any]]
    filtered: list[dict[str, Any]]
    moved: list[dict[str, Any]]
    policy: list[Any]
