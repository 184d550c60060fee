"""Conversations that no API has a hand in, and how hypothesis makes them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as some

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = ("get_weather", "look_up")


@dataclass
class Part:
    """What a user or a tool says: `text`, or an `image` or a `file` as base64."""

    kind: str
    data: str


@dataclass
class Call:
    """A call of a tool, and its result."""

    id: str
    name: str
    arguments: dict[str, Any]
    result: list[Part]
    failed: bool = False


@dataclass
class Turn:
    """What the user says, and what the assistant says to it. The last turn has no answer, or one whose calls have just been run."""

    asked: list[Part]
    thought: tuple[str, str] | None = None
    said: str = ""
    calls: list[Call] = field(default_factory=list)


@dataclass
class Talk:
    """A request, in nobody's words. `forced` is `required`, or the name of a tool that has to be called."""

    turns: list[Turn]
    system: str = ""
    tools: bool = False
    forced: str = ""
    schema: bool = False
    stop: list[str] = field(default_factory=list)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None


#: never blank, never ASCII alone
WORDS = some.text(some.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(lambda text: f"ж{text}😀")
DATA = some.binary(min_size=1, max_size=24)
PNG = DATA.map(lambda data: Part("image", base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()))
PDF = DATA.map(lambda data: Part("file", base64.b64encode(b"%PDF-1.4 " + data).decode()))
TEXT = WORDS.map(lambda text: Part("text", text))
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**53), 2**53) | WORDS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = some.dictionaries(some.sampled_from(["city", "ort", "день"]), VALUES, max_size=3)
SIGNATURES = DATA.map(lambda data: base64.b64encode(data).decode())


@some.composite
def talks(draw: some.DrawFn) -> Talk:
    """A conversation as a client might send it."""
    tools = draw(some.booleans())
    count = draw(some.integers(1, 3))
    turns = [draw(_turn(number, tools, last=number == count - 1)) for number in range(count)]
    thinks = any(turn.thought for turn in turns)
    return Talk(
        turns=turns,
        system=draw(some.just("") | WORDS),
        tools=tools,
        forced=draw(some.sampled_from(["", "required", *TOOLS])) if tools and not thinks else "",
        schema=draw(some.booleans()) and not tools,
        stop=draw(some.lists(WORDS, max_size=3, unique=True)),
        temperature=draw(some.none() | some.sampled_from([0.0, 0.25, 1.0])),
        top_p=draw(some.none() | some.sampled_from([0.5, 0.9])),
        max_tokens=draw(some.none() | some.integers(16, 4000)),
    )


@some.composite
def _turn(draw: some.DrawFn, number: int, tools: bool, last: bool) -> Turn:
    parts = [draw(TEXT), *draw(some.lists(PNG | PDF, max_size=2))]
    calls = draw(some.lists(some.booleans(), max_size=3)) if tools else []
    turn = Turn(parts, calls=[draw(_call(f"call_{number}{each}")) for each in range(len(calls))])
    if not last or turn.calls:
        turn.said = draw(WORDS) if not turn.calls else draw(some.just("") | WORDS)
        turn.thought = draw(some.none() | some.tuples(WORDS, SIGNATURES))
    return turn


@some.composite
def _call(draw: some.DrawFn, id: str) -> Call:
    result = [draw(TEXT), *draw(some.lists(PNG, max_size=1))]
    return Call(id, draw(some.sampled_from(TOOLS)), draw(ARGUMENTS), result, draw(some.booleans()))
