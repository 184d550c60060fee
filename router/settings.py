"""The configuration: config.toml and the environment as one tree of Structs.

Units are in the names; money is decimal strings in USD (per token for prices). Unknown keys are refused with their path.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

# --- the tree --------------------------------------------------------------------------------------------------------


class ServerSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[server]`."""

    listen: str = "127.0.0.1:8080"
    database: str = "router.db"
    synchronous: Literal["normal", "full"] = "normal"
    max_body_mb: float = 32
    drain_seconds: float = 30
    tls_certificate: str = ""
    tls_key: str = ""
    cors_origins: list[str] = field(default_factory=list)


class AuthSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[auth]`."""

    mode: Literal["keys", "open"] = "keys"
    query_key: Literal["all", "gemini", "off"] = "all"
    public_models: bool = False
    key_prefix: str = "sk-rt"


class LimitSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: defaults for keys that set none; None is unlimited."""

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    max_parallel: int | None = None
    strict: bool = False
    enforce_balance: bool = False


class Timeouts(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[timeouts]`, and `[providers.<slug>.timeouts]`, where a key that is absent keeps the general value."""

    connect_seconds: float = 10
    first_token_seconds: float = 120
    idle_seconds: float = 60
    total_seconds: float = 600


class ProviderSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]`: what every provider knows. Plugins subclass it for keys of their own.

    `timeouts` are the differences from `[timeouts]` (seconds). `zdr` (the upstream keeps nothing), `training` (it learns from prompts),
    `quantization` and `local` are facts that routing preferences look at. `priority`: lower goes first where the order is by priority.
    """

    plugin: str
    base_url: str = ""
    api_key: str = ""
    api_keys: list[str] = field(default_factory=list)
    discover: bool = False
    unknown_models: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    timeouts: dict[str, float] = field(default_factory=dict)
    max_connections: int = 200
    priority: int = 0
    zdr: bool = False
    training: bool = False
    quantization: str = "unknown"
    local: bool = False
    disabled: bool = False
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None


class PriceSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`pricing = { … }` of an endpoint: decimal strings in USD per token (`request`, `image`, `web_search`: per piece)."""

    prompt: str = "0"
    completion: str = "0"
    request: str = "0"
    image: str = "0"
    web_search: str = "0"
    internal_reasoning: str | None = None
    input_cache_read: str | None = None
    input_cache_write: str | None = None
    input_cache_write_1h: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None
    image_input: str | None = None
    image_output: str | None = None
    overrides: list[dict[str, Any]] = field(default_factory=list)


class EndpointSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """One of the `endpoints` of a `[models]` entry."""

    provider: str
    model: str
    pricing: PriceSettings | None = None
    priority: int = 0
    quantization: str | None = None
    zdr: bool | None = None
    context_length: int | None = None
    max_output: int | None = None
    supported_parameters: list[str] | None = None
    think_tags: bool | None = None


class ModelSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[models."author/slug"]`: a model of our own, or facts that override the catalogue's. Lengths are tokens."""

    name: str | None = None
    description: str | None = None
    context_length: int | None = None
    max_output: int | None = None
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    supported_parameters: list[str] | None = None
    pricing: PriceSettings | None = None
    endpoints: list[EndpointSettings] = field(default_factory=list)


class RoutingSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[routing]`."""

    default_model: str | None = None
    sort: Literal["balanced", "price", "latency", "throughput", "order"] = "balanced"
    max_attempts: int = 8
    deterministic: bool = False
    auto_models: list[str] = field(default_factory=list)


class StreamSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[stream]`."""

    header_delay_seconds: float = 15
    keepalive_seconds: float = 15
    write_timeout_seconds: float = 60
    comments: bool = True


class PluginSettings(Struct, kw_only=True):
    """`[plugins]`: names, and each plugin's own table by its name (`tables`, checked by the plugin's own Struct)."""

    enabled: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


class CompatSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[compat]`: where the services differ; a key's own `compat` overrides these."""

    error_code: Literal["string", "number"] = "string"
    always_stream: bool = False
    usage_chunk: Literal["auto", "same", "separate"] = "auto"
    reasoning_content: bool = True
    responses_done: bool = False
    strict_params: bool = False
    restore_signatures: bool = True


class RetentionSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`."""

    generations_days: int = 400
    content: Literal["off", "metadata", "full"] = "off"


class FetchSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[fetch]`: how the router fetches URLs of images and files, where an upstream cannot."""

    allow_private: bool = False


class ResponsesSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[responses]`."""

    store: bool = False


class Settings(Struct, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `providers` are raw tables: each is converted by its plugin's own Struct; None where there is no table at
    all (then providers are found in the environment)."""

    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    timeouts: Timeouts = field(default_factory=Timeouts)
    providers: dict[str, dict[str, Any]] | None = None
    models: dict[str, ModelSettings] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)
    compat: CompatSettings = field(default_factory=CompatSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    responses: ResponsesSettings = field(default_factory=ResponsesSettings)
