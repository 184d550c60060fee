r"""What patterns of guardrails may say, read into a tree of which `patterns` makes an automaton.

It is that which RE2 and `re` share: characters, classes, `\d \w \s \b`, groups, `|`, quantifiers, `^ $`, flags i, s and m in front; no
look-around, no references, no quantifier around another one without end. `\d`, `\w`, `\s` and `\b` mean ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

MOST_REPEATS = 1000
DEEPEST = 100

BEGIN, END, WORD, NEWLINE, OTHER = "begin", "end", "word", "newline", "other"


# --- characters ------------------------------------------------------------------------------------------------------


class Characters:
    """A set of characters: ranges, or all but these. `fold`: in either case."""

    __slots__ = ("_fold", "_negated", "ranges")

    def __init__(self, ranges: Iterable[tuple[str, str]], *, negated: bool = False, fold: bool = False) -> None:
        self.ranges = tuple(ranges)
        self._negated = negated
        self._fold = fold

    def has(self, character: str) -> bool:
        """Is it one of them?"""
        forms = {character, character.lower(), character.upper()} if self._fold else (character,)
        return any(low <= form <= high for low, high in self.ranges for form in forms) is not self._negated

    @property
    def source(self) -> str:
        """The same for `re`, which finds the next one fastest."""
        inside = "".join(f"{_escaped(low)}-{_escaped(high)}" for low, high in self.ranges)
        if not inside:
            return r"[\s\S]" if self._negated else r"[^\s\S]"
        body = f"[{'^' if self._negated else ''}{inside}]"
        return f"(?i:{body})" if self._fold else body


def _escaped(character: str) -> str:
    return f"\\U{ord(character):08x}"


DIGITS = (("0", "9"),)
WORDS = (("0", "9"), ("A", "Z"), ("a", "z"), ("_", "_"))
SPACES = (("\t", "\r"), (" ", " "))
CLASSES = {"d": DIGITS, "w": WORDS, "s": SPACES}
LAST = chr(0x10FFFF)
NUMBERS = {
    "x": re.compile(r"\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2})"),
    "u": re.compile(r"\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4})"),
}
COUNTS = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")
GROUPS = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)")
SIGNS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}


def _outside(ranges: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """All that these leave out."""
    gaps, first = [], 0
    for low, high in sorted(ranges):
        if ord(low) > first:
            gaps.append((chr(first), chr(ord(low) - 1)))
        first = max(first, ord(high) + 1)
    return [*gaps, (chr(first), LAST)] if first <= ord(LAST) else gaps


def kind_of(character: str) -> str:
    """What assertions see of a character."""
    if character == "\n":
        return NEWLINE
    return WORD if character.isascii() and (character.isalnum() or character == "_") else OTHER


# --- reading ---------------------------------------------------------------------------------------------------------


class Characterwise:
    """A node of the tree: one character of a set."""

    def __init__(self, characters: Characters) -> None:
        self.characters = characters


class Assertion:
    """A node: a place of a kind."""

    def __init__(self, holds: Callable[[str, str], bool]) -> None:
        self.holds = holds


class Row:
    """A node: one after the other."""

    def __init__(self, parts: list[Node]) -> None:
        self.parts = parts


class Either:
    """A node: one of several."""

    def __init__(self, ways: list[Node]) -> None:
        self.ways = ways


class Repeat:
    """A node: so many times; `most` None is without end."""

    def __init__(self, part: Node, least: int, most: int | None) -> None:
        self.part = part
        self.least = least
        self.most = most


Node = Characterwise | Assertion | Row | Either | Repeat


def _boundary(before: str, behind: str) -> bool:
    return (before == WORD) is not (behind == WORD)


class Reader:
    """Reads a pattern. Raises ValueError with what is wrong with it."""

    def __init__(self, pattern: str, *, nested: bool) -> None:
        self._text = pattern
        self._place = 0
        self._depth = 0
        self._nested = nested
        self._flags: set[str] = set()

    def read(self) -> Node:
        """The whole pattern as a tree."""
        if flags := re.match(r"\(\?([ims]+)\)", self._text):
            self._flags, self._place = set(flags[1]), flags.end()
        node = self._either()
        if self._place < len(self._text):
            raise ValueError("there is a ')' too many")
        return node

    def _peek(self) -> str:
        return self._text[self._place : self._place + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise ValueError("it ends too early")
        self._place += 1
        return character

    def _either(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"groups lie more than {DEEPEST} deep")
        ways = [self._sequence()]
        while self._peek() == "|":
            self._take()
            ways.append(self._sequence())
        self._depth -= 1
        return ways[0] if len(ways) == 1 else Either(ways)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while (character := self._peek()) and character not in "|)":
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Row(parts)

    def _repeated(self) -> Node:
        part = self._one()
        counted = self._count()
        if counted is None:
            return part
        least, most = counted
        if self._peek() == "?":
            self._take()  # a lazy one: which matches there are is the same
        if self._peek() == "+" or (self._peek() and self._peek() in "*?") or self._count() is not None:
            raise ValueError("a quantifier behind a quantifier is not supported")
        if not self._nested and (most is None or most > 1) and _endless(part):
            raise ValueError("nested quantifiers are not supported")
        return Repeat(part, least, most)

    def _count(self) -> tuple[int, int | None] | None:
        character = self._peek()
        if character and character in "*+?":
            self._take()
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[character]
        found = COUNTS.match(self._text, self._place)
        if found is None:
            return None
        self._place = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise ValueError(f"the quantifier {found[0]} makes no sense or is above {MOST_REPEATS}")
        return least, most

    def _one(self) -> Node:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == ".":
            return Characterwise(Characters([] if "s" in self._flags else [("\n", "\n")], negated=True))
        if character == "^":
            multiple = "m" in self._flags
            return Assertion(lambda before, behind: before == BEGIN or (multiple and before == NEWLINE))
        if character == "$":
            multiple = "m" in self._flags
            return Assertion(lambda before, behind: behind == END or (multiple and behind == NEWLINE))
        if character in "*+?":
            raise ValueError(f"there is nothing that {character!r} could repeat")
        return self._escape() if character == "\\" else self._characters([(character, character)])

    def _characters(self, ranges: Iterable[tuple[str, str]], *, negated: bool = False) -> Node:
        return Characterwise(Characters(ranges, negated=negated, fold="i" in self._flags))

    def _group(self) -> Node:
        if self._peek() == "?":
            named = GROUPS.match(self._text, self._place)
            if named is None:
                raise ValueError(
                    "of groups with '(?' only (?:…) and (?P<name>…) are supported, and flags in front: no look-around"
                )
            self._place = named.end()
        node = self._either()
        if self._peek() != ")":
            raise ValueError("a ')' is missing")
        self._take()
        return node

    def _escape(self) -> Node:
        character = self._take()
        if character in "bB":
            wanted = character == "b"
            return Assertion(lambda before, behind: _boundary(before, behind) is wanted)
        if character == "A":
            return Assertion(lambda before, behind: before == BEGIN)
        if character in "zZ":
            return Assertion(lambda before, behind: behind == END)
        if character.lower() in CLASSES:
            return Characterwise(Characters(CLASSES[character.lower()], negated=character.isupper()))
        sign = self._sign(character)
        return self._characters([(sign, sign)])

    def _sign(self, character: str) -> str:
        """The character that an escape stands for."""
        if character in SIGNS:
            return SIGNS[character]
        if character in "xu":
            found = NUMBERS[character].match(self._text, self._place)
            if found is None or (code := int(found[1] or found[2], 16)) > 0x10FFFF:
                raise ValueError(f"\\{character} is not followed by the number of a character")
            self._place = found.end()
            return chr(code)
        if character.isascii() and character.isalnum():
            raise ValueError(f"\\{character} is not supported" + (": no references" if character.isdigit() else ""))
        return character

    def _class(self) -> Node:
        negated = self._peek() == "^"
        if negated:
            self._take()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member(ranges)
            if low is None:
                continue
            if self._peek() == "-" and self._text[self._place + 1 : self._place + 2] not in ("]", ""):
                self._take()
                high = self._member(ranges)
                if high is None or high < low:
                    raise ValueError(f"the range from {low!r} makes no sense")
                ranges.append((low, high))
            else:
                ranges.append((low, low))
        self._take()
        return self._characters(ranges, negated=negated)

    def _member(self, ranges: list[tuple[str, str]]) -> str | None:
        """One character of a class; None where it was a class itself, which `ranges` has then."""
        character = self._take()
        if character == "[" and self._peek() == ":":
            raise ValueError("classes such as [[:alpha:]] are not supported; write [A-Za-z]")
        if character != "\\":
            return character
        character = self._take()
        if character.lower() in CLASSES:
            inside = CLASSES[character.lower()]
            ranges.extend(_outside(inside) if character.isupper() else inside)
            return None
        return "\b" if character == "b" else self._sign(character)


def _endless(node: Node) -> bool:
    """Does it hold a quantifier without end?"""
    match node:
        case Repeat():
            return node.most is None or _endless(node.part)
        case Row():
            return any(map(_endless, node.parts))
        case Either():
            return any(map(_endless, node.ways))
    return False
