"""From a text that should be JSON, and is not, to JSON.

Run as a script, in a process with bounds: the text is a model's, the schema a stranger's, and either may take for ever. It therefore
imports nothing of the router. Exact ways come before guesses: a whole value among other text, a value whose end was cut off, then
json-repair, then json-repair led by the schema.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import json_repair
from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing.jsonschema import EMPTY_REGISTRY

#: places at which a value is looked for
MOST_PLACES = 50
_BRACKET = re.compile(r"[\[{]")
#: words in brackets that are no value: "the field {name} is [as said]"
_ASIDE = re.compile(r"[\[{][^\[\]{}:\",]+[\]}]")
_FENCE = re.compile(r"\s*```\s*[^`]*\Z")


def heal(text: str, schema: Any = None) -> str | None:
    """JSON text in place of this one, fitting the schema if there is one; None where there is no such thing."""
    if schema is not None and not _local(schema):
        return None
    for found in _found(text):
        if _fits(found, schema):
            return found
    return None if schema is None else _led(text, schema)


def _found(text: str) -> Iterator[str]:
    """What might be meant, best first."""
    whole, later, broken = _values(text)
    yield from whole
    if broken is not None:
        start = _FENCE.sub("", text[broken:]) if "```" in text[:broken] else text[broken:]
        if (closed := close(start)) is not None:
            yield closed
        if (repaired := _repair(start)) is not None:
            yield repaired
    yield from later


def _values(text: str) -> tuple[list[str], list[str], int | None]:
    """Whole objects and arrays among other text: those before anything broken and those behind, which may be parts of it; and where the
    first broken one begins. Objects come first, of them the longest, of these the last: who thinks aloud answers at the end."""
    whole: list[str] = []
    later: list[str] = []
    broken: int | None = None
    at = 0
    for _ in range(MOST_PLACES):
        if (bracket := _BRACKET.search(text, at)) is None:
            break
        at = bracket.start()
        try:
            end = _DECODER.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            if aside := _ASIDE.match(text, at):
                at = aside.end()
                continue
            broken = at if broken is None else broken
            at += 1
        else:
            (whole if broken is None else later).append(text[at:end])
            at = end
    for values in (whole, later):
        values.reverse()
        values.sort(key=lambda each: (each[0] != "{", -len(each)))
    return whole, later, broken


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


# --- a value whose end was cut off -----------------------------------------------------------------------------------

_INSIDE = r'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
_TOKEN = re.compile(
    rf'[ \t\r\n]*(?:(?P<mark>[{{}}\[\]:,])|(?P<string>"{_INSIDE}")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<word>true|false|null))"
)
_CUT_STRING = re.compile(rf'[ \t\r\n]*"(?P<inside>{_INSIDE})(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?\Z')
_CUT_WORD = re.compile(r"[ \t\r\n]*(t|tr|tru|f|fa|fal|fals|n|nu|nul)\Z")
_CUT_NUMBER = re.compile(r"[ \t\r\n]*-\Z")
_CUT_DIGITS = re.compile(r"(?:\.|[eE][+-]?|\.[0-9]+[eE][+-]?)\Z")
#: half of a character outside the basic plane
_HALF = re.compile(r"(?<!\\)((?:\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_WORDS = {"t": "true", "f": "false", "n": "null"}


class _Place(NamedTuple):
    """How far a text is good JSON: the next character, what may come there, the brackets that are open, the last place at which they
    could be closed, and whether a number was the last thing there."""

    at: int
    expects: str
    open: list[str]
    safe: int
    number: bool


def close(text: str) -> str | None:
    """The value that this text is the beginning of, without what is not there; None where it is the beginning of none."""
    place = _read(text)
    if place is None or not place.open:
        return None
    rest, ends = text[place.at :], "".join(reversed(place.open))
    value = place.expects in ("value", "first value")
    if not rest.strip(" \t\r\n") or (place.number and _CUT_DIGITS.match(rest)) or (value and _CUT_NUMBER.match(rest)):
        return text[: place.safe] + ends
    if cut := _CUT_STRING.match(rest):
        if value:
            return text[: place.at] + rest[: cut.start("inside")] + _HALF.sub(r"\1", cut["inside"]) + '"' + ends
        return text[: place.safe] + ends if place.expects in ("key", "first key") else None
    if value and (cut := _CUT_WORD.match(rest)):
        return text[: place.at] + rest[: cut.start(1)] + _WORDS[cut[1][0]] + ends
    return None


def _read(text: str) -> _Place | None:
    """Read as long as it is JSON. None where a token stands in the wrong place."""
    expects, brackets, at, safe, number = "value", list[str](), 0, 0, False
    while token := _TOKEN.match(text, at):
        kind = token.lastgroup or ""
        after = _after(expects, kind, token[kind], brackets)
        if after is None:
            return None
        expects, at, number = after, token.end(), kind == "number"
        if expects in ("next", "first key", "first value"):
            safe = at
        if expects == "next" and not brackets:
            break
    return _Place(at, expects, brackets, safe, number)


def _after(expects: str, kind: str, token: str, brackets: list[str]) -> str | None:
    """What may come behind this token; None where it may not stand here."""
    if kind != "mark":
        if expects in ("value", "first value"):
            return "next"
        return "colon" if kind == "string" and expects in ("key", "first key") else None
    if token in "{[" and expects in ("value", "first value"):
        brackets.append("}" if token == "{" else "]")
        return "first key" if token == "{" else "first value"
    if token in "}]" and brackets and brackets[-1] == token:
        closes = ("next", "first key") if token == "}" else ("next", "first value")
        return _closed(brackets) if expects in closes else None
    if token == ":" and expects == "colon":
        return "value"
    if token == "," and expects == "next" and brackets:
        return "key" if brackets[-1] == "}" else "value"
    return None


def _closed(brackets: list[str]) -> str:
    brackets.pop()
    return "next"


# --- guesses ---------------------------------------------------------------------------------------------------------


def _repair(text: str, **schema: Any) -> str | None:
    """What json-repair makes of it, if that is an object or an array."""
    try:
        value = json_repair.loads(text, skip_json_loads=True, **schema)
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict | list) else None
    except (ValueError, RecursionError, SchemaError):
        return None


def _led(text: str, schema: Any) -> str | None:
    whole, _, broken = _values(text)
    for start in (*whole, *(() if broken is None else (text[broken:],))):
        led = _repair(start, schema=schema, schema_repair_mode="salvage")
        if led is not None and _fits(led, schema):
            return led
    return None


# --- schemas ---------------------------------------------------------------------------------------------------------


def _fits(text: str, schema: Any) -> bool:
    """Is it JSON, and as the schema has it? A schema that is none fits nothing."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if schema is None:
            return True
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        return bool(kind(schema, registry=EMPTY_REGISTRY).is_valid(value))
    except (ValueError, RecursionError, SchemaError):
        return False
    except Exception as error:
        if type(error).__module__.startswith(("referencing", "jsonschema")):
            return False  # a reference to what is not there
        raise


def _local(schema: Any) -> bool:
    """Do all references stay within the schema? jsonschema would fetch others."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            for name in ("$ref", "$dynamicRef", "$recursiveRef"):
                if isinstance(target := each.get(name), str) and not target.startswith("#"):
                    return False
            waiting.extend(each.values())
    return True


def main() -> None:
    """Read {"text", "schema"} (the schema as JSON text) and write {"text"}."""
    asked = json.load(sys.stdin.buffer)
    schema = asked["schema"]
    json.dump({"text": heal(asked["text"], json.loads(schema) if schema is not None else None)}, sys.stdout)


if __name__ == "__main__":
    main()
