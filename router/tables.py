"""Tables as TOML gives them: the environment laid over them, references resolved, and Structs made of them.

Whatever is wrong is one SettingsError that names the full path of the key.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")
Table = dict[str, Any]

PREFIX = "ROUTER__"
#: a variable that is not set means "no credential" here, and an error anywhere else
OPTIONAL = re.compile(r"api_key|api_keys\[\d+\]")


class SettingsError(Exception):
    """The configuration is wrong. The message is one line: where it stands (once known), the key and the reason."""

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(f"{source}: {message}" if source else message)
        self.source = source


class Overlay(str):
    """A value from the environment. It takes its type where that of its key is known: here, or by a plugin's Struct."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, text: str, name: str) -> Overlay:
        self = super().__new__(cls, text)
        self.name = name
        return self


class Referenced(str):
    """What an `env:` or `file:` reference stands for. It knows the reference: that may be shown where the value may not."""

    __slots__ = ("reference",)
    reference: str

    def __new__(cls, text: str, reference: str) -> Referenced:
        self = super().__new__(cls, text)
        self.reference = reference
        return self


# --- Structs of tables -----------------------------------------------------------------------------------------------


def convert(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    """`table` as a Struct. `where` is its own path ("providers.openai"). Raises SettingsError with the wrong key's path."""
    tree: Any = _typed(dict(table), kind)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise _explained(tree, kind, where, error) from None


def _typed(value: Any, kind: Any) -> Any:
    """The value with what came from the environment given the type of its key."""
    if isinstance(value, dict):
        return {key: _typed(inner, child_type(kind, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner, child_type(kind, number)) for number, inner in enumerate(value)]
    if isinstance(value, Referenced) and kind is not Any:
        return str(value)
    if not isinstance(value, Overlay) or kind is Any:
        return value
    try:
        msgspec.convert(str(value), kind)
        return str(value)
    except msgspec.ValidationError:
        return _literal(value)


def _literal(text: str) -> Any:
    """600, true, ["a"]: a value as it would stand in the file; anything else stays text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return str(text)


def child_type(kind: Any, key: str | int) -> Any:
    """The declared type of a key of a Struct or dictionary, or of an element of a list; Any where none is declared."""
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _hints(kind).get(str(key), Any)
    arguments = typing.get_args(kind)
    if arguments and typing.get_origin(kind) in (dict, list):
        return arguments[-1]
    return Any


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _plain(kind: Any) -> Any:
    """The type without `| None` and constraints."""
    if typing.get_origin(kind) is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [each for each in typing.get_args(kind) if each is not type(None)]
        return _plain(members[0]) if len(members) == 1 else kind
    return kind


# --- what msgspec says, in the words of the file ---------------------------------------------------------------------

_WORDS = {
    "object": "a table",
    "array": "a list",
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _explained(tree: Any, kind: Any, where: str, error: msgspec.ValidationError) -> SettingsError:
    reason, _, path = str(error).partition(" - at `$")
    steps = _steps(tree, kind, path.rstrip("`"), reason)
    if found := _UNKNOWN.fullmatch(reason):
        names = [each.encode_name for each in msgspec.structs.fields(_plain(_type_at(kind, steps)))]
        near = difflib.get_close_matches(found[1], names, n=1)
        reason = f"unknown key{f' (did you mean {near[0]}?)' if near else ''}"
        steps.append(found[1])
    elif found := _MISSING.fullmatch(reason):
        reason = "this key is missing"
        steps.append(found[1])
    elif typing.get_origin(choices := _plain(_type_at(kind, steps))) is Literal:
        reason = f"must be one of {', '.join(repr(each) for each in typing.get_args(choices))}"
    return SettingsError(f"{_joined(where, steps)}: {_worded(reason)}")


def _worded(reason: str) -> str:
    def names(found: re.Match[str]) -> str:
        words = [_WORDS.get(each, each) for each in found[1].split(" | ") if each != "null"]
        return " or ".join(words)

    return re.sub(r"`([a-z |]+)`", names, reason).replace("Expected", "expected", 1)


def _steps(tree: Any, kind: Any, path: str, reason: str) -> list[str | int]:
    """The keys that lead to the fault. msgspec writes a key of a dictionary as `[...]`: each is tried alone."""
    steps: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]+)\]", path):
        if name:
            steps.append(name)
        elif index != "...":
            steps.append(int(index))
        else:
            steps.append(_culprit(_value_at(tree, steps), _type_at(kind, steps), reason))
    return steps


def _culprit(table: Table, kind: Any, reason: str) -> str:
    for key, value in table.items():
        try:
            msgspec.convert({key: value}, kind)
        except msgspec.ValidationError as error:
            if str(error).startswith(reason):
                return key
    return "…"


def _value_at(tree: Any, steps: list[str | int]) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _type_at(kind: Any, steps: list[str | int]) -> Any:
    for step in steps:
        kind = child_type(kind, step)
    return kind


def _joined(where: str, steps: list[str | int]) -> str:
    path = where
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}" if path else step
    return path


# --- the environment over the file -----------------------------------------------------------------------------------


def overlay(tree: Table, environ: Mapping[str, str]) -> None:
    """Lay `ROUTER__SECTION__KEY=value` over the tree, in place."""
    for name in sorted(environ):
        if name.startswith(PREFIX):
            put(tree, name.removeprefix(PREFIX).lower().split("__"), Overlay(environ[name], name))


def put(tree: Table, keys: list[str], value: Any) -> None:
    """Set one value, making the tables on the way. `my_laptop` finds a table `my-laptop`: variables have no dashes."""
    name = getattr(value, "name", ".".join(keys))
    if not all(keys):
        raise SettingsError(f"{name}: not the name of a setting; it is {PREFIX}SECTION__KEY")
    for number, key in enumerate(keys[:-1], 1):
        inner = tree.setdefault(_present(tree, key), {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{name}: {'.'.join(keys[:number])} is not a table")
        tree = inner
    tree[_present(tree, keys[-1])] = value


def _present(tree: Table, key: str) -> str:
    return next((each for each in tree if each.lower().replace("-", "_") == key), key)


# --- references ------------------------------------------------------------------------------------------------------


def resolve(tree: Table, environ: Mapping[str, str], folder: Path) -> None:
    """Replace every `"env:NAME"` and `"file:PATH"` by what it stands for, in place. Paths are relative to `folder`."""
    for key, value in tree.items():
        tree[key] = _resolved(value, key, key, environ, folder)


def _resolved(value: Any, path: str, key: str, environ: Mapping[str, str], folder: Path) -> Any:
    if isinstance(value, dict):
        return {each: _resolved(inner, f"{path}.{each}", each, environ, folder) for each, inner in value.items()}
    if isinstance(value, list):
        return [
            _resolved(inner, f"{path}[{number}]", f"{key}[{number}]", environ, folder)
            for number, inner in enumerate(value)
        ]
    if isinstance(value, str) and value.startswith("env:"):
        return Referenced(_variable(value.removeprefix("env:"), path, key, environ), value)
    if isinstance(value, str) and value.startswith("file:"):
        return Referenced(_content(value.removeprefix("file:"), path, folder), value)
    return value


def _variable(name: str, path: str, key: str, environ: Mapping[str, str]) -> str:
    found = environ.get(name)
    if found is None and not OPTIONAL.fullmatch(key):
        raise SettingsError(f"{path}: the environment has no variable {name or '(empty name)'}")
    return found or ""


def _content(name: str, path: str, folder: Path) -> str:
    try:
        return (folder / Path(name).expanduser()).read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: {name} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
