"""Which operation of which client API a path means, as `POST /explain` names it in `endpoint`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from ...dialects.base import Dialect
from ...dialects.openai_chat.peek import read_members
from ...errors import BadRequest

DEFAULT = "chat/completions"
#: a variable in the path of a route: its name and what it matches
VARIABLE = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


class Asked(NamedTuple):
    """An operation, and what stands in the path."""

    dialect: Dialect
    operation: str
    path: str
    values: dict[str, str]


def split(dialects: Iterable[Dialect], body: bytes) -> tuple[bytes, Asked]:
    """A body with a member `endpoint`: what is meant for that endpoint, and the endpoint. Raises BadRequest."""
    members = read_members(body)
    raw = members.pop("endpoint", None)
    try:
        endpoint = DEFAULT if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise BadRequest("endpoint must be a string, such as /v1/messages", param="endpoint") from None
    return body if raw is None else msgspec.json.encode(members), asked(dialects, endpoint)


def asked(dialects: Iterable[Dialect], endpoint: str) -> Asked:
    """The operation behind a path, with or without prefix. Raises BadRequest."""
    path = f"/{endpoint.partition('?')[0].strip('/')}"
    for dialect in dialects:
        below = _below(dialect, path)
        for each in dialect.paths:
            if each.operation == "count_tokens" or (found := _pattern(each.path).fullmatch(below)) is None:
                continue
            if each.form:
                raise BadRequest(
                    f"{endpoint[:100]} takes a form; send the form itself there, with X-Router-Dry-Run: 1",
                    param="endpoint",
                )
            values = {name: unquote(value) for name, value in found.groupdict().items()}
            return Asked(dialect, each.operation, dialect.prefixes[0] + below, values)
    raise BadRequest(
        f"endpoint: nothing is asked at {endpoint[:100]!r}; write a path as /v1/chat/completions or /v1/messages",
        param="endpoint",
    )


def _below(dialect: Dialect, path: str) -> str:
    """The path without the prefix, if it has one of this API's."""
    fitting = [prefix for prefix in dialect.prefixes if path.startswith(f"{prefix}/")]
    return path.removeprefix(max(fitting, key=len, default=""))


@lru_cache(maxsize=200)
def _pattern(route: str) -> re.Pattern[str]:
    parts = VARIABLE.split(route)
    literal = [re.escape(part) for part in parts[::3]]
    variables = [f"(?P<{name}>{kind or '[^/]+'})" for name, kind in zip(parts[1::3], parts[2::3], strict=True)]
    return re.compile("".join(part for pair in zip(literal, [*variables, ""], strict=True) for part in pair))
