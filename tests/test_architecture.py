"""Who may import whom, what every hook must have, and that no default plugin is indispensable."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from router import hookspecs
from router.builtin import DEFAULT_PLUGINS

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "router"
PLUGINS = sorted((ROOT / "plugins").glob("*/router_*"))

#: each line may import itself and the lines above it
LAYERS = (
    (
        "errors",
        "prices",
        "model",
        "events",
        "modalities",
        "payments",
        "wire",
        "tasks",
        "clock",
        "alarms",
        "windows",
        "confined",
    ),
    (
        *("identity", "head", "call", "generation"),
        *("availability", "sse", "hookspecs", "hooks", "settings", "tables", "redaction", "logs", "throttle"),
        *("upstream_errors", "catalogue"),
    ),
    ("provider", "openai_compatible", "openai_words", "dialects", "store", "plugins", "health", "statistics", "fetch"),
    (
        *("planning", "signatures", "relay", "attempts", "sink", "sessions", "devices"),
        *("account", "balance", "ledger", "groups"),
    ),
    ("lifecycle", "counting", "asking", "builtin"),
    ("api", "dashboard"),
    ("server", "app", "serving", "commands", "cli", "__main__", "testing"),
)
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
#: builtins bring routes, for which they need the Struct that describes one
EXCEPTIONS = {("builtin", "api")}
WEB = {
    *("server", "app", "serving", "sink", "api", "dashboard", "testing"),
    *("builtin/metrics", "builtin/statistics/activity", "builtin/statistics/usage"),
    *("builtin/log/__init__", "builtin/log/feed"),
}
FIRST_LAYER_MAY = {"msgspec"}
PLUGIN_MAY = re.compile(r"router(\.wire.*)?$")


def modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, parsed(path)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part(path: Path) -> str:
    """The name of a core module's line in LAYERS: its first segment below router/."""
    first = path.relative_to(CORE).parts[0]
    return first.removesuffix(".py")


def imported(tree: ast.Module, path: Path) -> Iterator[str]:
    """Absolute names of everything imported at run time, wherever in the file it stands."""
    for node in ast.walk(without_type_checking(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package_of(path, node.level) if node.level else ""
            module = ".".join(filter(None, (base, node.module or "")))
            if node.module is None or node.level == 0:
                yield from (f"{module}.{alias.name}" for alias in node.names if node.module is None)
            if node.module is not None:
                yield module


def without_type_checking(tree: ast.Module) -> ast.Module:
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    ]
    return ast.Module(body=kept, type_ignores=[])


def package_of(path: Path, level: int) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
        level -= 1
    return ".".join(parts[: len(parts) - level] if level else parts)


def test_core_modules_import_only_what_lies_above_them() -> None:
    wrong = []
    for path, tree in modules(CORE):
        name = part(path)
        if name == "__init__":
            continue
        assert name in LEVEL, f"{path.name} has no place in LAYERS"
        for target in imported(tree, path):
            if not target.startswith("router.") or (other := target.split(".")[1]) not in LEVEL:
                continue
            if other != name and LEVEL[other] > LEVEL[name] and (name, other) not in EXCEPTIONS:
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def test_the_first_layer_needs_only_msgspec() -> None:
    import sys

    wrong = []
    for path, tree in modules(CORE):
        if part(path) not in LAYERS[0]:
            continue
        for target in imported(tree, path):
            top = target.split(".")[0]
            if top not in sys.stdlib_module_names and top != "router" and top not in FIRST_LAYER_MAY:
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def test_core_never_imports_a_plugin() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path, tree in modules(CORE)
        for target in imported(tree, path)
        if target.split(".")[0].startswith("router_")
    ]
    assert not wrong


def test_dialects_and_providers_do_not_know_each_other() -> None:
    wrong = []
    for path, tree in modules(CORE):
        for target in imported(tree, path):
            if part(path) == "dialects" and target in ("router.provider", "router.openai_compatible"):
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
            if part(path) in ("provider", "openai_compatible") and target.startswith("router.dialects"):
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def test_web_and_sql_stay_where_they_belong() -> None:
    wrong = []
    for path, tree in modules(CORE):
        place = str(path.relative_to(CORE).with_suffix(""))
        if part(path) not in WEB and place not in WEB:
            wrong += [f"{place} imports {name}" for name in imported(tree, path) if name == "aiohttp.web"]
            wrong += [
                f"{place} imports aiohttp.web"
                for node in ast.walk(without_type_checking(tree))
                if isinstance(node, ast.ImportFrom)
                and node.module == "aiohttp"
                and any(alias.name == "web" for alias in node.names)
            ]
        if part(path) != "store":
            wrong += [
                f"{place} holds SQL" for text in strings(tree) if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE) ", text)
            ]
    assert not wrong


def strings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_import_only_what_is_public(package: Path) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {target}"
        for path, tree in modules(package)
        for target in imported(tree, path)
        if target.split(".")[0] == "router" and not PLUGIN_MAY.match(target)
    ]
    assert not wrong


# --- hooks -----------------------------------------------------------------------------------------------------------

HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("router_")}


def signature(name: str) -> str:
    """The signature as docs/hooks.md must print it."""
    text = str(inspect.signature(HOOKS[name])).replace("'", "")
    return f"{'async ' if inspect.iscoroutinefunction(HOOKS[name]) else ''}{name}{text}"


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_and_tested(name: str) -> None:
    assert HOOKS[name].__doc__, "say when it is called and what the return means"
    assert ".. versionadded::" in HOOKS[name].__doc__
    assert f"`{signature(name)}`" in (ROOT / "docs" / "hooks.md").read_text()
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    assert any(re.search(rf"\bdef {name}\b|\.{name}\(", path.read_text()) for path in tests), (
        f"no test implements {name}"
    )


def test_all_hooks_stand_in_one_file() -> None:
    elsewhere = [
        str(path.relative_to(ROOT))
        for path, tree in modules(CORE)
        if path.name != "hookspecs.py" and "HookspecMarker" in path.read_text()
    ]
    assert not elsewhere


@pytest.mark.parametrize("name", DEFAULT_PLUGINS)
async def test_the_server_starts_without(name: str, tmp_path: Path) -> None:
    from router.server import Server
    from router.settings import PluginSettings, ServerSettings, Settings

    settings = Settings(
        server=ServerSettings(database=str(tmp_path / "router.db")),
        providers={},
        plugins=PluginSettings(disabled=[name]),
    )
    server = Server(settings, {})
    await server.start()
    await server.stop()
