"""A text that matches a regular expression: the shortest that is easy to see, always the same one.

Knows what the `pattern` of a JSON schema usually holds: literals, classes, groups, alternatives and counts. Look-around, word
boundaries and back-references are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from string import ascii_letters, digits, printable

#: characters emitted and nodes visited, at most: `(a{999}){999}` must not stop the server
MOST_STEPS = 20_000
#: what a class that excludes some characters is filled from
_PREFERRED = ascii_letters + digits + "-_ " + printable
_DIGITS, _SPACES = digits, " \t\n\r\f\v"
_WORD = ascii_letters + digits + "_"
_CLASSES = {
    "d": lambda char: char in _DIGITS,
    "w": lambda char: char in _WORD,
    "s": lambda char: char in _SPACES,
    "D": lambda char: char not in _DIGITS,
    "W": lambda char: char not in _WORD,
    "S": lambda char: char not in _SPACES,
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")

Member = Callable[[str], bool]
#: text of a node, given how often more than necessary an open-ended repetition is taken
Node = Callable[["Steps", int], str]


class PatternError(Exception):
    """No text can be made for the pattern; the message says why."""


def matching(pattern: str, shortest: int = 0, longest: int | None = None) -> str:
    """A text of `shortest` to `longest` characters that matches. Raises PatternError."""
    node = _Parser(pattern).parse()
    text = node(Steps(), _enough(node, shortest))
    if len(text) < shortest or (longest is not None and len(text) > longest):
        raise PatternError(f"no text of the wanted length was found for the pattern {pattern!r}")
    return text


def _enough(node: Node, shortest: int) -> int:
    """How often more than necessary the repetitions must be taken to reach a length. By halves: lengths only grow."""
    if _length(node, 0) >= shortest:
        return 0
    low, high = 0, shortest
    while high - low > 1:
        middle = (low + high) // 2
        if _length(node, middle) >= shortest:
            high = middle
        else:
            low = middle
    return high


def _length(node: Node, more: int) -> float:
    try:
        return len(node(Steps(), more))
    except PatternError:
        return math.inf


class Steps:
    """What one text may cost."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def spend(self, count: int = 1) -> None:
        """Raises PatternError where it gets too much."""
        self._left -= count
        if self._left < 0:
            raise PatternError("the pattern makes texts that are too long")


class _Parser:
    """Recursive descent over the pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        """The whole pattern."""
        node = self._alternatives()
        if self._at < len(self._pattern):
            raise self._refusal("an unbalanced parenthesis")
        return node

    def _alternatives(self) -> Node:
        """The first alternative: one is enough."""
        first = self._sequence()
        while self._next("|"):
            self._sequence()
        return first

    def _sequence(self) -> Node:
        nodes: list[Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            nodes.append(self._repeated(self._atom()))
        return lambda steps, more: "".join([node(steps, more) for node in nodes])

    def _repeated(self, node: Node) -> Node:
        least, most = self._count()
        if (least, most) == (1, 1):
            return node
        if not self._next("?"):  # lazy and possessive ones match the same texts
            self._next("+")

        def text(steps: Steps, more: int) -> str:
            count = least + more if most is None else min(least + more, most)
            pieces = []
            for _ in range(count):
                steps.spend()
                pieces.append(node(steps, more))
            return "".join(pieces)

        return text

    def _count(self) -> tuple[int, int | None]:
        if self._next("*"):
            return 0, None
        if self._next("+"):
            return 1, None
        if self._next("?"):
            return 0, 1
        if found := _COUNT.match(self._pattern, self._at):
            self._at = found.end()
            least = int(found[1])
            if not found[2]:
                return least, least
            return least, int(found[3]) if found[3] else None
        return 1, 1

    def _atom(self) -> Node:
        char = self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return _one(self._class())
            case ".":
                return _one("x")
            case "^" | "$":
                return lambda steps, more: ""
            case "\\":
                return _one(_first(self._escape()))
            case "*" | "+" | "?":
                raise self._refusal("a repetition of nothing")
        return _one(char)

    def _group(self) -> Node:
        if self._next("?") and not (self._next(":") or self._named()):
            raise self._refusal("look-around")
        self._depth += 1
        if self._depth > 50:
            raise self._refusal("groups nested too deeply")
        node = self._alternatives()
        self._depth -= 1
        if not self._next(")"):
            raise self._refusal("an unbalanced parenthesis")
        return node

    def _named(self) -> bool:
        found = re.compile(r"P?<\w+>").match(self._pattern, self._at)
        if found:
            self._at = found.end()
        return found is not None

    def _class(self) -> str:
        """A character of the class that begins here."""
        excluded = self._next("^")
        members: list[Member] = []
        first = ""
        start = self._at
        while self._at == start or not self._at_end_of_class():
            member, char = self._class_member()
            if char and self._is_range():
                self._at += 1
                high = self._class_member()[1]
                if high < char:
                    raise self._refusal("a range that runs backwards")
                member = _between(char, high)
            members.append(member)
            first = first or _first((member, char))
        self._at += 1
        if not excluded:
            return first
        for char in _PREFERRED:
            if not any(member(char) for member in members):
                return char
        raise self._refusal("a class that excludes all usual characters")

    def _at_end_of_class(self) -> bool:
        if self._at >= len(self._pattern):
            raise self._refusal("a class without an end")
        return self._pattern[self._at] == "]"

    def _is_range(self) -> bool:
        return self._pattern[self._at : self._at + 1] == "-" and self._pattern[self._at + 1 : self._at + 2] not in (
            "]",
            "",
        )

    def _class_member(self) -> tuple[Member, str]:
        char = self._take()
        if char == "\\":
            return self._escape(in_class=True)
        return _between(char, char), char

    def _escape(self, *, in_class: bool = False) -> tuple[Member, str]:
        """What a backslash begins: which characters it stands for, and the character where it is only one."""
        char = self._take()
        if char in _CLASSES:
            return _CLASSES[char], ""
        if char in _CONTROLS:
            char = _CONTROLS[char]
        elif char == "b" and in_class:
            char = "\b"
        elif char in "xu":
            width = 2 if char == "x" else 4
            code = self._pattern[self._at : self._at + width]
            if not re.fullmatch(r"[0-9A-Fa-f]+", code) or len(code) < width:
                raise self._refusal("an unfinished character code")
            self._at += width
            char = chr(int(code, 16))
        elif char.isalnum():
            raise self._refusal(f"\\{char}")
        return _between(char, char), char

    def _take(self) -> str:
        if self._at >= len(self._pattern):
            raise self._refusal("an end that comes too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _next(self, char: str) -> bool:
        """Step over `char` if it comes next."""
        found = self._pattern.startswith(char, self._at)
        self._at += found
        return found

    def _refusal(self, what: str) -> PatternError:
        return PatternError(f"the pattern {self._pattern!r} holds {what}, which is not understood here")


def _one(char: str) -> Node:
    def text(steps: Steps, more: int) -> str:
        steps.spend()
        return char

    return text


def _between(low: str, high: str) -> Member:
    return lambda char: low <= char <= high


def _first(member: tuple[Member, str]) -> str:
    """The character itself, or the nicest one of many."""
    fits, char = member
    return char or next(_usual(fits))


def _usual(fits: Member) -> Iterator[str]:
    return (char for char in _PREFERRED if fits(char))
