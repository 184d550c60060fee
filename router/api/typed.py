"""Handlers say by their annotations what they take and what they answer: that is checked here, and described in the OpenAPI document.

`async def create(request: Request, body: NewKey) -> KeyMade` gets the JSON of the request as a `NewKey`; a parameter `query` gets the
query. What does not fit is 400, with the member that is wrong. `-> KeyMade | web.Response` may also answer what is no JSON.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Awaitable, Callable, Mapping
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec
from aiohttp import web
from msgspec import Struct
from multidict import MultiMapping

from ..errors import BadRequest


class Signature(Struct):
    """What a handler takes and answers: Structs or other types that msgspec knows, None for nothing."""

    body: Any = None
    query: Any = None
    answer: Any = None


def signature(handler: Callable[..., Awaitable[Any]]) -> Signature:
    """Read a handler's annotations. Handlers made by the same lines, as closures are, have the same."""
    code = getattr(handler, "__code__", handler)
    if code not in _signatures:
        hints = get_type_hints(handler, include_extras=True)
        _signatures[code] = Signature(
            body=hints.get("body"), query=hints.get("query"), answer=_json_of(hints.get("return"))
        )
    return _signatures[code]


_signatures: dict[Any, Signature] = {}


def _json_of(answer: Any) -> Any:
    """The type of the JSON that a handler answers, where it may answer something else (CSV, a plain number) too."""
    kinds = get_args(answer) if isinstance(answer, UnionType) else ()
    if web.Response not in kinds:
        return answer
    return functools.reduce(operator.or_, (kind for kind in kinds if kind is not web.Response))


def body_of(raw: bytes, kind: Any) -> Any:
    """A request's JSON as this type; an empty body is an object without members. Raises BadRequest with `param`."""
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def query_of(given: MultiMapping[str], kind: Any) -> Any:
    """A query as this type. What the type does not know is passed over; a list takes repeated names and commas. Raises BadRequest."""
    members: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        values = given.getall(field.encode_name, [])
        if values:
            listed = msgspec.inspect.type_info(field.type)
            members[field.encode_name] = _listed(values) if _is_list(listed) else values[-1]
    try:
        return msgspec.convert(members, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None


def _is_list(info: Any) -> bool:
    if isinstance(info, msgspec.inspect.UnionType):
        return any(_is_list(each) for each in info.types)
    return isinstance(info, msgspec.inspect.ListType)


def _listed(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")


def _wrong(message: str) -> BadRequest:
    """msgspec's message, with the path of the member in front and as `param`."""
    found = _PLACE.search(message)
    place = found[1].replace("[...]", "") if found else ""
    words = _PLACE.sub("", message)
    words = (words[:1].lower() + words[1:]).replace("`", "")
    if not place and (missing := re.search(r"(?:field|unknown field) (\S+)$", words)):
        place = missing[1]
    return BadRequest(f"{place}: {words}" if place else words, param=place or None)


def given(body: Struct) -> Mapping[str, Any]:
    """The members of a change that the request names: those that are not UNSET. (A change says null to clear one.)"""
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET}
