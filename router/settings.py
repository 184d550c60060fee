"""The configuration: config.toml and the environment as one tree of Structs.

Units are in the names; money is decimal strings in USD (per token for prices). Unknown keys are refused with their
path.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field, structs
from yarl import URL

from .prices import OVERRIDABLE, PICODOLLARS, Price, PriceOverride
from .tables import PREFIX, SettingsError, Table, convert, overlay, put, resolve

__all__ = [
    "Settings",
    "SettingsError",
    "address",
    "convert",
    "is_loopback",
    "load",
    "price_of",
    "sourced",
    "timeouts_of",
]

# --- the tree --------------------------------------------------------------------------------------------------------

#: ten days: a longer wait is a slip of the pen
Seconds = Annotated[float, Meta(gt=0, le=864_000)]
#: characters of a secret that others are encrypted with
SHORTEST_SECRET = 32
#: a limit; None is unlimited
Limit = Annotated[int, Meta(ge=1)] | None
Tokens = Annotated[int, Meta(ge=1)] | None


class ServerSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[server]`."""

    listen: str = "127.0.0.1:8080"
    database: str = "router.db"
    synchronous: Literal["normal", "full"] = "normal"
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 32
    drain_seconds: Annotated[float, Meta(ge=0, le=864_000)] = 30
    tls_certificate: str = ""
    tls_key: str = ""
    cors_origins: list[str] = field(default_factory=list)
    public_url: str = ""


class AuthSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[auth]`."""

    mode: Literal["keys", "open"] = "keys"
    query_key: Literal["all", "gemini", "off"] = "all"
    public_models: bool = False
    key_prefix: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,24}$")] = "sk-rt"


class LimitSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: defaults for keys that set none; None is unlimited."""

    rpm: Limit = None
    tpm: Limit = None
    rpd: Limit = None
    max_parallel: Limit = None
    strict: bool = False
    enforce_balance: bool = False


class Timeouts(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[timeouts]`, and `[providers.<slug>.timeouts]`, where a key that is absent keeps the general value."""

    connect_seconds: Seconds = 10
    first_token_seconds: Seconds = 120
    idle_seconds: Seconds = 60
    total_seconds: Seconds = 600


class ProviderSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[providers.<slug>]`: what every provider knows. Plugins subclass it for keys of their own.

    `timeouts` are the differences from `[timeouts]` (seconds). `zdr` (the upstream keeps nothing), `training` (it learns
    from prompts), `quantization` and `local` are facts that routing preferences look at. `priority`: lower goes first
    where the order is by priority. `fee_percent` of the list price is charged where nobody charges us: on our own hardware, and with
    a client's own key.
    """

    plugin: str
    base_url: str = ""
    api_key: str = ""
    api_keys: list[str] = field(default_factory=list)
    discover: bool = False
    unknown_models: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    timeouts: dict[str, Seconds] = field(default_factory=dict)
    max_connections: Annotated[int, Meta(ge=1)] = 200
    priority: int = 0
    zdr: bool = False
    training: bool = False
    quantization: str = "unknown"
    local: bool = False
    fee_percent: Annotated[float, Meta(ge=0, le=100)] = 0
    disabled: bool = False
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None


class PriceSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`pricing = { … }`: decimal strings in USD per token (`request`, `image`, `web_search`: per piece)."""

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
    overrides: list[PriceOverrideSettings] = field(default_factory=list)


TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class PriceOverrideSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """One of a price's `overrides`: other prices from a prompt length (tokens) on, or between two UTC times of day."""

    min_prompt_tokens: Annotated[int, Meta(ge=0)] = 0
    utc_start: TimeOfDay | None = None
    utc_end: TimeOfDay | None = None
    prompt: str | None = None
    completion: str | None = None
    input_cache_read: str | None = None
    input_cache_write: str | None = None
    input_cache_write_1h: str | None = None
    internal_reasoning: str | None = None
    audio_input: str | None = None
    audio_output: str | None = None


class EndpointSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """One of the `endpoints` of a `[models]` entry."""

    provider: str
    model: str
    variant: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*$")] = ""
    pricing: PriceSettings | None = None
    priority: int = 0
    quantization: str | None = None
    zdr: bool | None = None
    context_length: Tokens = None
    max_output: Tokens = None
    supported_parameters: list[str] | None = None
    think_tags: bool | None = None


class ModelSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[models."author/slug"]`: a model of our own, or facts that override the catalogue's. Lengths are tokens."""

    name: str | None = None
    description: str | None = None
    context_length: Tokens = None
    max_output: Tokens = None
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None
    supported_parameters: list[str] | None = None
    pricing: PriceSettings | None = None
    endpoints: list[EndpointSettings] = field(default_factory=list)


class RoutingSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[routing]`."""

    default_model: str | None = None
    default_provider: str | None = None
    deprecated_models: bool = True
    sort: Literal["balanced", "price", "latency", "throughput", "order"] = "balanced"
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 8
    deterministic: bool = False
    auto_models: list[str] = field(default_factory=list)


class StreamSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[stream]`."""

    header_delay_seconds: Seconds = 15
    keepalive_seconds: Seconds = 15
    write_timeout_seconds: Seconds = 60
    comments: bool = True


class PluginSettings(Struct, kw_only=True, forbid_unknown_fields=True):
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

    generations_days: Annotated[int, Meta(ge=1)] = 400
    content: Literal["off", "metadata", "full"] = "off"


class FetchSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[fetch]`: how the router fetches URLs of images and files, where an upstream cannot."""

    allow_private: bool = False


class ResponsesSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[responses]`."""

    store: bool = False


class ByokSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[byok]`: what the keys of clients are encrypted with."""

    key: str = ""


class Settings(Struct, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `providers` are raw tables: each is converted by its plugin's own Struct; None where there is no
    table at all (then providers are found in the environment)."""

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
    byok: ByokSettings = field(default_factory=ByokSettings)


# --- reading it ------------------------------------------------------------------------------------------------------


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """The configuration of this file (None: the defaults), with the environment and then `overrides` laid over it.

    `overrides` are command line options by path: {"server.listen": "127.0.0.1:80"}. Paths of files become absolute;
    a relative one is relative to the configuration file (without one, to the working directory). Raises SettingsError.
    """
    overrides = overrides or {}
    try:
        tree = _read(path) if path else {}
        folder = path.absolute().parent if path else Path.cwd()
        overlay(tree, environ)
        resolve(tree, environ, folder)
        for key, value in overrides.items():
            put(tree, key.split("."), value)
        _set_plugins_apart(tree)
        settings = convert(tree, Settings, "")
        _place_files(settings.server, folder)
        settings.server.public_url = _own_origin(settings.server.public_url)
        _check(settings)
    except SettingsError as error:
        raise sourced(error, path, environ, overrides) from None
    return settings


def sourced(
    error: SettingsError, path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> SettingsError:
    """The error with the file, variable or option that the wrong value came from."""
    if error.source:
        return error
    key = str(error).partition(": ")[0]
    variable = PREFIX + key.replace(".", "__").replace("-", "_").upper()
    if key in (overrides or {}):
        source = "command line"
    elif variable in environ:
        source = variable
    else:
        source = str(path) if path and not key.startswith(PREFIX) else ""
    return SettingsError(str(error), source)


def timeouts_of(general: Timeouts, own: Mapping[str, float], where: str) -> Timeouts:
    """The general timeouts with a provider's own ones over them. `where` is the provider's path."""
    return convert({**structs.asdict(general), **own}, Timeouts, f"{where}.timeouts")


def price_of(pricing: PriceSettings, where: str = "pricing") -> Price:
    """The price in picodollars. Raises SettingsError for what is no decimal number, negative or beyond belief."""
    rates: dict[str, Any] = {
        name: _rate(getattr(pricing, name), f"{where}.{name}", name) for name in pricing.__struct_fields__[:-1]
    }
    rows = [_override(row, f"{where}.overrides[{number}]") for number, row in enumerate(pricing.overrides)]
    return Price(**rates, overrides=rows)


def address(listen: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT" ("[::1]:8080" for IPv6). Port 0 means any free one. Raises SettingsError."""
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != (host != bare) or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise SettingsError(f"server.listen: {listen!r} is not HOST:PORT, such as 127.0.0.1:8080")
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """True where only this machine can connect."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError("is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"is not TOML: {error}") from None
    except RecursionError:
        raise SettingsError("is nested too deeply") from None


def _set_plugins_apart(tree: Table) -> None:
    """`[plugins.<name>]` tables go to `plugins.tables`, beside the keys of `[plugins]` itself."""
    plugins = tree.get("plugins")
    if not isinstance(plugins, dict):
        return
    own = {key: value for key, value in plugins.items() if not isinstance(value, dict)}
    if "tables" in own:
        raise SettingsError("plugins.tables: unknown key")
    tree["plugins"] = {**own, "tables": {key: value for key, value in plugins.items() if key not in own}}


def _place_files(server: ServerSettings, folder: Path) -> None:
    if server.database != ":memory:":
        server.database = str(folder / Path(server.database).expanduser())
    for name in ("tls_certificate", "tls_key"):
        if value := getattr(server, name):
            setattr(server, name, str(folder / Path(value).expanduser()))


def _own_origin(text: str) -> str:
    """`server.public_url` as browsers write an origin. Raises SettingsError."""
    if not text:
        return ""
    try:
        url = URL(text)
        origin = url.origin()
    except ValueError:
        url = origin = URL()
    plain = text.isprintable() and " " not in text and url in (origin, origin / "")
    if not plain or origin.scheme not in ("http", "https"):
        raise SettingsError(
            f"server.public_url: {text!r} is not the address of a host, such as https://llm.example.org (no path, no query)"
        )
    return str(origin)


def _check(settings: Settings) -> None:
    """What one key alone cannot tell."""
    server = settings.server
    host, _ = address(server.listen)
    if settings.auth.mode == "open" and not is_loopback(host):
        raise SettingsError(
            f'auth.mode: "open" is for loopback only and server.listen is {server.listen}; use mode = "keys"'
        )
    for here, there in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if getattr(server, here) and not getattr(server, there):
            raise SettingsError(f"server.{there}: needed beside server.{here}")
        if getattr(server, here) and not Path(getattr(server, here)).is_file():
            raise SettingsError(f"server.{here}: there is no file {getattr(server, here)}")
    for alias, targets in settings.aliases.items():
        if not targets:
            raise SettingsError(f"aliases.{alias}: at least one model is needed")
    if 0 < len(settings.byok.key) < SHORTEST_SECRET:
        raise SettingsError(
            f"byok.key: at least {SHORTEST_SECRET} characters are needed, such as `openssl rand -hex 32` gives"
        )
    _check_prices(settings.models)


def _check_prices(models: Mapping[str, ModelSettings]) -> None:
    for id, model in models.items():
        if model.pricing is not None:
            price_of(model.pricing, f"models.{id}.pricing")
        for number, endpoint in enumerate(model.endpoints):
            if endpoint.pricing is not None:
                price_of(endpoint.pricing, f"models.{id}.endpoints[{number}].pricing")


#: USD. More would not fit the ledger's 64 bits with a million tokens, and nobody asks it
HIGHEST_PER_TOKEN, HIGHEST_PER_PIECE = 1, 1000


def _rate(text: str | None, where: str, name: str) -> int | None:
    """Picodollars of a decimal in USD."""
    if text is None:
        return None
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal("NaN")
    highest = HIGHEST_PER_PIECE if name in ("request", "image", "web_search") else HIGHEST_PER_TOKEN
    if not usd.is_finite() or not 0 <= usd <= highest:
        raise SettingsError(f'{where}: {text!r} is no price in USD from 0 to {highest}, such as "0.000001"')
    picodollars = usd * PICODOLLARS
    if picodollars != int(picodollars):
        raise SettingsError(f"{where}: {text} is finer than 0.000000000001 USD, the unit of the ledger")
    return int(picodollars)


def _override(row: PriceOverrideSettings, where: str) -> PriceOverride:
    if (row.utc_start is None) != (row.utc_end is None):
        raise SettingsError(f"{where}: utc_start and utc_end belong together")
    rates = {name: _rate(getattr(row, name), f"{where}.{name}", name) for name in OVERRIDABLE}
    return PriceOverride(
        min_prompt_tokens=row.min_prompt_tokens, utc_start=row.utc_start or "", utc_end=row.utc_end or "", **rates
    )
