"""The configuration: what is read, from where, and what is said of a wrong one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.prices import Usage
from router.settings import (
    AuthSettings,
    CompatSettings,
    EndpointSettings,
    FetchSettings,
    LimitSettings,
    ModelSettings,
    PluginSettings,
    PriceOverrideSettings,
    PriceSettings,
    ProviderSettings,
    ResponsesSettings,
    RetentionSettings,
    RoutingSettings,
    ServerSettings,
    Settings,
    SettingsError,
    StreamSettings,
    Timeouts,
    address,
    convert,
    load,
    price_of,
    sourced,
    timeouts_of,
)

ROOT = Path(__file__).parents[1]
Load = Callable[..., Settings]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Load this text as config.toml, in this environment."""

    def loaded(text: str = "", environ: Mapping[str, str] | None = None, **options: str) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return load(path, environ or {}, {name.replace("_", ".", 1): value for name, value in options.items()})

    return loaded


@pytest.fixture
def refused(loaded: Load, tmp_path: Path) -> Callable[..., str]:
    """What is said of this text, which is wrong; the folder is left out."""

    def refused(text: str = "", environ: Mapping[str, str] | None = None, **options: str) -> str:
        with pytest.raises(SettingsError) as caught:
            loaded(text, environ, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return refused


Refused = Callable[..., str]

# --- what is read ----------------------------------------------------------------------------------------------------


def test_no_file_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load(None, {})

    assert settings.server.listen == "127.0.0.1:8080"
    assert settings.providers is None
    assert settings.server.database == str(tmp_path / "router.db")


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nope\.toml: cannot be read: No such file"):
        load(tmp_path / "nope.toml", {})


def test_values_of_the_file_are_taken(loaded: Load) -> None:
    settings = loaded(
        """
        [server]
        listen = "[::1]:9000"
        max_body_mb = 0.5
        [limits]
        rpm = 60
        [aliases]
        fast = ["a/b", "c/d"]
        [models."acme/chat"]
        endpoints = [{ provider = "x", model = "y", priority = 2 }]
        """
    )

    assert settings.server.listen == "[::1]:9000"
    assert settings.server.max_body_mb == 0.5
    assert settings.limits.rpm == 60
    assert settings.aliases == {"fast": ["a/b", "c/d"]}
    assert settings.models["acme/chat"].endpoints[0].priority == 2


def test_paths_of_files_are_relative_to_the_configuration(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    (tmp_path / "key.pem").touch()

    server = loaded('[server]\ndatabase = "data/x.db"\ntls_certificate = "cert.pem"\ntls_key = "key.pem"').server

    assert server.database == str(tmp_path / "data/x.db")
    assert server.tls_certificate == str(tmp_path / "cert.pem")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[limits]\nrpm = 5\n")

    assert load(path, {}).limits.rpm == 5


def test_a_table_of_a_plugin_is_kept_for_the_plugin(loaded: Load) -> None:
    plugins = loaded('[plugins]\nenabled = ["guard"]\n[plugins.guard]\nwords = ["x"]').plugins

    assert plugins.enabled == ["guard"]
    assert plugins.tables == {"guard": {"words": ["x"]}}


def test_an_empty_table_of_providers_is_not_the_same_as_none(loaded: Load) -> None:
    assert loaded("[providers]").providers == {}
    assert loaded("").providers is None


# --- the environment -------------------------------------------------------------------------------------------------


def test_the_environment_overrides_the_file_and_the_command_line_both(loaded: Load) -> None:
    text = '[server]\nlisten = "127.0.0.1:1"'
    environ = {"ROUTER__SERVER__LISTEN": "127.0.0.1:2"}

    assert loaded(text).server.listen == "127.0.0.1:1"
    assert loaded(text, environ).server.listen == "127.0.0.1:2"
    assert loaded(text, environ, server_listen="127.0.0.1:3").server.listen == "127.0.0.1:3"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SERVER__MAX_BODY_MB", "1.5", 1.5),
        ("SERVER__DRAIN_SECONDS", "5", 5.0),
        ("SERVER__CORS_ORIGINS", '["https://a.example"]', ["https://a.example"]),
        ("AUTH__PUBLIC_MODELS", "true", True),
        ("AUTH__KEY_PREFIX", "123", "123"),
        ("LIMITS__RPM", "600", 600),
        ("ROUTING__DEFAULT_MODEL", "true", "true"),
        ("routing__sort", "price", "price"),
    ],
)
def test_a_variable_takes_the_type_of_its_key(loaded: Load, name: str, text: str, expected: object) -> None:
    settings = loaded("", {f"ROUTER__{name}": text})

    section, key = name.lower().split("__")
    assert getattr(getattr(settings, section), key) == expected


def test_a_variable_reaches_into_a_table_of_a_provider(loaded: Load) -> None:
    environ = {
        "ROUTER__PROVIDERS__MY_LAPTOP__MAX_CONNECTIONS": "7",
        "ROUTER__PROVIDERS__MY_LAPTOP__API_KEY": "12345",
        "ROUTER__PROVIDERS__MY_LAPTOP__TIMEOUTS__IDLE_SECONDS": "9",
    }
    settings = loaded('[providers.my-laptop]\nplugin = "openai-compatible"', environ)

    assert settings.providers is not None
    assert list(settings.providers) == ["my-laptop"]
    own = convert(settings.providers["my-laptop"], ProviderSettings, "providers.my-laptop")
    assert (own.max_connections, own.api_key, own.timeouts) == (7, "12345", {"idle_seconds": 9.0})


def test_variables_of_others_are_left_alone(loaded: Load) -> None:
    assert loaded("", {"ROUTER_MANAGEMENT_KEY": "x", "ROUTER_X": "1"}) == loaded("")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ROUTER__LIMITS__RPM": "many"}, "ROUTER__LIMITS__RPM: limits.rpm: expected a whole number, got a string"),
        ({"ROUTER__LIMITS__RMP": "5"}, "ROUTER__LIMITS__RMP: limits.rmp: unknown key (did you mean rpm?)"),
        ({"ROUTER__": "5"}, "ROUTER__: not the name of a setting; it is ROUTER__SECTION__KEY"),
        ({"ROUTER__SERVER": "x"}, "ROUTER__SERVER: server: expected a table, got a string"),
    ],
)
def test_a_wrong_variable_is_named(refused: Refused, environ: dict[str, str], message: str) -> None:
    assert refused("", environ) == message


# --- references ------------------------------------------------------------------------------------------------------


def test_strings_may_stand_for_variables_and_files(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("  s3cret\n")
    settings = loaded(
        """
        [providers.x]
        plugin = "openai"
        api_keys = ["env:ONE", "file:secret.txt"]
        headers = { x-team = "env:TEAM" }
        """,
        {"ONE": "1", "TEAM": "red"},
    )

    assert settings.providers == {"x": {"plugin": "openai", "api_keys": ["1", "s3cret"], "headers": {"x-team": "red"}}}


def test_a_missing_credential_is_no_fault(loaded: Load) -> None:
    settings = loaded('[providers.x]\napi_key = "env:NOT_SET"\napi_keys = ["env:NOT_SET", "b"]')

    assert settings.providers == {"x": {"api_key": "", "api_keys": ["", "b"]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[providers.x]\nbase_url = "env:NOT_SET"',
            "config.toml: providers.x.base_url: the environment has no variable NOT_SET",
        ),
        (
            '[providers.x]\nheaders = { a = "env:" }',
            "config.toml: providers.x.headers.a: the environment has no variable (empty name)",
        ),
        (
            '[providers.x]\napi_keys = ["a", "file:nope.txt"]',
            "config.toml: providers.x.api_keys[1]: cannot read nope.txt: No such file or directory",
        ),
    ],
)
def test_a_reference_to_nothing_is_named(refused: Refused, text: str, message: str) -> None:
    assert refused(text) == message


def test_a_secret_is_never_part_of_a_message(refused: Refused) -> None:
    text = '[providers]\nx = "env:KEY"\n[server]\nlisten = "env:KEY"'

    assert "hush-hush" not in refused(text, {"KEY": "hush-hush"})


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server", "is not TOML: Expected ']' at the end of a table declaration (at end of document)"),
        ("surver = 1", "surver: unknown key (did you mean server?)"),
        ("[server]\nlissen = 1", "server.lissen: unknown key (did you mean listen?)"),
        ("[server]\nqqq = 1", "server.qqq: unknown key"),
        ("[server]\nlisten = 8080", "server.listen: expected a string, got a whole number"),
        ("providers = 1", "providers: expected a table, got a whole number"),
        ("[stream]\ncomments = 1", "stream.comments: expected true or false, got a whole number"),
        ("[stream]\nkeepalive_seconds = nan", "stream.keepalive_seconds: expected a number > 0.0"),
        ("[timeouts]\ntotal_seconds = inf", "timeouts.total_seconds: expected a number <= 864000.0"),
        ("[limits]\nrpm = 0", "limits.rpm: expected a whole number >= 1"),
        ("[auth]\nmode = 'off'", "auth.mode: must be one of 'keys', 'open'"),
        ("[models.'a/b']\nnmae = 'x'", "models.a/b.nmae: unknown key (did you mean name?)"),
        ("[models.'a/b']\n[models.'a/c']\nname = 3", "models.a/c.name: expected a string, got a whole number"),
        (
            "[models.'a/b']\nendpoints = [{ provider = 'x', model = 'm' }, { provider = 'x' }]",
            "models.a/b.endpoints[1].model: this key is missing",
        ),
        ("[aliases]\na = ['x/y']\nb = ['x/y', 3]", "aliases.b[1]: expected a string, got a whole number"),
        ("[aliases]\na = []", "aliases.a: at least one model is needed"),
        ("[plugins]\nenabeld = []", "plugins.enabeld: unknown key (did you mean enabled?)"),
        ("[plugins]\ntables = 1", "plugins.tables: unknown key"),
        ("[server]\ntls_key = 'config.toml'", "server.tls_certificate: needed beside server.tls_key"),
    ],
)
def test_a_wrong_key_is_named_with_file_path_and_reason(refused: Refused, text: str, message: str) -> None:
    assert refused(text) == f"config.toml: {message}"


@pytest.mark.parametrize("listen", ["8080", ":8080", "localhost", "localhost:http", "::1:80", "[::1]", "1.2.3.4:65536"])
def test_a_wrong_address_is_refused(refused: Refused, listen: str) -> None:
    assert refused(f"[server]\nlisten = '{listen}'") == (
        f"config.toml: server.listen: '{listen}' is not HOST:PORT, such as 127.0.0.1:8080"
    )


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://llm.example.org", "https://llm.example.org"),
        ("HTTPS://LLM.example.org:443/", "https://llm.example.org"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_the_address_that_people_see_is_written_as_browsers_do(loaded: Load, url: str, origin: str) -> None:
    assert loaded(f"[server]\npublic_url = '{url}'").server.public_url == origin


@pytest.mark.parametrize(
    "url",
    [
        *(
            "llm.example.org",
            "//llm.example.org",
            "ftp://llm.example.org",
            "https://llm.example.org/router",
            "https://",
        ),
        *("https://llm.example.org?x=1", "https://me@llm.example.org", "https://llm example.org", "https://x:99999"),
    ],
)
def test_what_is_no_address_that_people_see(refused: Refused, url: str) -> None:
    assert refused(f"[server]\npublic_url = '{url}'") == (
        f"config.toml: server.public_url: '{url}' is not the address of a host, such as https://llm.example.org (no path, no query)"
    )


def test_an_address_is_a_host_and_a_port() -> None:
    assert address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert address("[::1]:0") == ("::1", 0)
    assert address("box.example:65535") == ("box.example", 65535)


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:80", "192.168.1.5:80", "box.example:80"])
def test_without_keys_only_this_machine_may_ask(refused: Refused, listen: str) -> None:
    message = refused(f"[server]\nlisten = '{listen}'\n[auth]\nmode = 'open'")

    assert message.startswith('config.toml: auth.mode: "open" is for loopback only')


@pytest.mark.parametrize("listen", ["127.0.0.1:80", "127.9.9.9:80", "localhost:80", "[::1]:80"])
def test_without_keys_this_machine_may_ask(loaded: Load, listen: str) -> None:
    assert loaded(f"[server]\nlisten = '{listen}'\n[auth]\nmode = 'open'").auth.mode == "open"


# --- tables of providers and plugins ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"plugin": "x", "bsae_url": "y"}, "providers.x.bsae_url: unknown key (did you mean base_url?)"),
        ({}, "providers.x.plugin: this key is missing"),
        (
            {"plugin": "x", "headers": {"a": "b", "c": 1}},
            "providers.x.headers.c: expected a string, got a whole number",
        ),
        ({"plugin": "x", "max_connections": 0}, "providers.x.max_connections: expected a whole number >= 1"),
    ],
)
def test_a_table_of_a_provider_is_checked_by_its_struct(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        convert(table, ProviderSettings, "providers.x")
    assert str(caught.value) == message


def test_an_error_that_comes_later_gets_its_source_too() -> None:
    error = SettingsError("providers.x.bsae_url: unknown key")

    assert str(sourced(error, Path("config.toml"), {})) == "config.toml: providers.x.bsae_url: unknown key"
    environ = {"ROUTER__PROVIDERS__X__BSAE_URL": "y"}
    named = sourced(error, Path("config.toml"), environ)
    assert str(named) == "ROUTER__PROVIDERS__X__BSAE_URL: providers.x.bsae_url: unknown key"
    assert sourced(named, Path("config.toml"), {}) is named


def test_a_provider_keeps_the_general_timeouts_that_it_does_not_change() -> None:
    merged = timeouts_of(Timeouts(connect_seconds=1, idle_seconds=2), {"idle_seconds": 3}, "providers.x")

    assert merged == Timeouts(connect_seconds=1, idle_seconds=3)


def test_a_wrong_timeout_of_a_provider_is_named() -> None:
    with pytest.raises(SettingsError, match=r"providers\.x\.timeouts\.idel_seconds: unknown key"):
        timeouts_of(Timeouts(), {"idel_seconds": 3}, "providers.x")


# --- prices ----------------------------------------------------------------------------------------------------------


def test_prices_are_exact_picodollars() -> None:
    price = price_of(PriceSettings(prompt="0.00000125", completion="1e-5", request="0.01", input_cache_read="0"))

    assert (price.prompt, price.completion, price.request) == (1_250_000, 10_000_000, 10_000_000_000)
    assert price.input_cache_read == 0
    assert price.input_cache_write is None


def test_a_price_for_long_prompts_replaces_the_other() -> None:
    row = PriceOverrideSettings(min_prompt_tokens=200, prompt="0.000002")
    price = price_of(PriceSettings(prompt="0.000001", overrides=[row]))

    assert price.cost(Usage(input=199), 0).total == 199_000_000
    assert price.cost(Usage(input=200), 0).total == 400_000_000


@pytest.mark.parametrize(
    ("pricing", "message"),
    [
        ("prompt = '-1'", "prompt: '-1' is no price in USD from 0 to 1, such as \"0.000001\""),
        ("prompt = 'NaN'", "prompt: 'NaN' is no price in USD from 0 to 1, such as \"0.000001\""),
        ("prompt = '2'", "prompt: '2' is no price in USD from 0 to 1, such as \"0.000001\""),
        ("request = '1001'", "request: '1001' is no price in USD from 0 to 1000, such as \"0.000001\""),
        ("prompt = 'cheap'", "prompt: 'cheap' is no price in USD from 0 to 1, such as \"0.000001\""),
        ("prompt = '1e-13'", "prompt: 1e-13 is finer than 0.000000000001 USD, the unit of the ledger"),
        ("prompt = 0.000001", "prompt: expected a string, got a number"),
        ("overrides = [{ utc_start = '08:00' }]", "overrides[0]: utc_start and utc_end belong together"),
    ],
)
def test_a_wrong_price_is_named(refused: Refused, pricing: str, message: str) -> None:
    text = f"[models.'a/b']\nendpoints = [{{ provider = 'x', model = 'y', pricing = {{ {pricing} }} }}]"

    assert refused(text) == f"config.toml: models.a/b.endpoints[0].pricing.{message}"


# --- config.toml and the documentation -------------------------------------------------------------------------------


def test_the_shipped_file_says_the_defaults() -> None:
    shipped, defaults = load(ROOT / "config.toml", {}), load(None, {})

    shipped.server.database = defaults.server.database
    assert shipped == defaults


def test_the_shipped_file_shows_every_key() -> None:
    text = re.sub(r"^#(?=\S)", "", (ROOT / "config.toml").read_text(), flags=re.MULTILINE)
    tree = tomllib.loads(text)

    for section in msgspec.structs.fields(Settings):
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct):
            fields = set(section.type.__struct_fields__) - {"tables"}
            assert fields <= tree[section.name].keys(), section.name


def test_the_examples_of_the_shipped_file_are_valid(loaded: Load, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()

    settings = loaded(re.sub(r"^#(?=\S)", "", (ROOT / "config.toml").read_text(), flags=re.MULTILINE))

    assert settings.providers is not None
    for slug, table in settings.providers.items():
        convert({name: value for name, value in table.items() if name != "preset"}, ProviderSettings, slug)


#: heading in docs/configuration.md -> what it documents
DOCUMENTED: dict[str, type[msgspec.Struct]] = {
    "[server]": ServerSettings,
    "[auth]": AuthSettings,
    "[limits]": LimitSettings,
    "[timeouts]": Timeouts,
    "[providers.NAME]": ProviderSettings,
    '[models."AUTHOR/NAME"]': ModelSettings,
    "endpoints": EndpointSettings,
    "pricing": PriceSettings,
    "overrides": PriceOverrideSettings,
    "[routing]": RoutingSettings,
    "[stream]": StreamSettings,
    "[plugins]": PluginSettings,
    "[compat]": CompatSettings,
    "[retention]": RetentionSettings,
    "[fetch]": FetchSettings,
    "[responses]": ResponsesSettings,
}
#: what PluginSettings keeps of `[plugins.NAME]`; no key of the file
NOT_A_KEY = {"tables"}


def documentation() -> dict[str, str]:
    """docs/configuration.md by heading."""
    parts = re.split(r"^#+ (.+)$", (ROOT / "docs/configuration.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("heading", DOCUMENTED)
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", documentation()[heading], flags=re.MULTILINE))
    fields = {field.name: field for field in msgspec.structs.fields(DOCUMENTED[heading])}

    assert rows.keys() == fields.keys() - NOT_A_KEY
    for name, text in rows.items():
        if shown := re.fullmatch(r"`(.+)`", text):
            default = fields[name].default
            expected = fields[name].default_factory() if default is msgspec.NODEFAULT else default
            assert tomllib.loads(f"value = {shown[1]}")["value"] == expected, name
        elif text == "absent":
            assert fields[name].default is None, name


def test_nothing_reads_the_keys_that_are_said_to_be_without_effect() -> None:
    """Whoever gives such a key an effect takes it off that list."""
    text = (ROOT / "docs/configuration.md").read_text()
    paragraph = re.search(r"^\*\*Without effect yet\.\*\*.+?\n\n", text, re.MULTILINE | re.DOTALL)
    listed = re.findall(r"`(\w+)\.(\w+)`", paragraph[0]) if paragraph else []
    code = "\n".join(path.read_text() for path in (ROOT / "router").rglob("*.py"))

    for section, name in listed:
        assert name in getattr(Settings(), section).__struct_fields__
        assert not re.search(rf"\b{section}(\.{name}\b|\.get\(.{name}\b|\[.{name}\b)", code), f"{section}.{name}"


def test_every_section_is_documented() -> None:
    documented = {heading.strip("[]").partition(".")[0] for heading in documentation() if heading.startswith("[")}

    assert documented == set(Settings.__struct_fields__)


@pytest.mark.parametrize("name", ["docs/configuration.md", "docs/quickstart.md"])
def test_the_examples_of_the_documentation_load(loaded: Load, name: str) -> None:
    examples = re.findall(r"^```toml\n(.+?)^```", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)

    assert examples
    for example in examples:
        loaded(example)
