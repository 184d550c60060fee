r"""Regular expressions in linear time: the owner's patterns run over text that anybody may have written.

`re` backtracks, and nothing can stop it once it has begun. Here a pattern becomes an automaton that takes one step for each character,
whose states are made as they are met. What it understands is that which RE2 and `re` share: characters, classes, `\d \w \s \b`, groups,
`|`, quantifiers, `^ $`, flags i, s and m in front; no look-around, no references, no quantifier around another one without end. Of the
matches that begin first the longest counts. `\d`, `\w`, `\s` and `\b` mean ASCII.

An automaton also knows when no match can be under way, so that a stream is held back only where one is (`Pattern.start`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache

#: characters of a pattern
LONGEST = 100_000
#: and states of its automaton, with repetitions written out
MOST_STATES = 100_000
MOST_REPEATS = 1000
DEEPEST = 100
#: states that are kept of one pattern before it begins anew
KEPT_STATES = 2000
KEPT_STEPS = 50_000
#: characters between two looks at the clock
A_LOOK = 4096

BEGIN, END, WORD, NEWLINE, OTHER = "begin", "end", "word", "newline", "other"


class TooSlow(Exception):
    """The time for the filters of one request has run out."""


class Deadline:
    """How long the filters of one request may work."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._left_s = seconds
        self._began_s: float | None = None
        self._looks = 0

    def __enter__(self) -> Deadline:
        self._began_s = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        if self._began_s is not None:
            self._left_s -= self._now() - self._began_s
            self._began_s = None

    def look(self) -> None:
        """Raises TooSlow where it has passed."""
        if self._began_s is not None and self._now() - self._began_s > self._left_s:
            raise TooSlow

    def step(self) -> None:
        """A state was made, which takes long: look every now and then."""
        self._looks += 1
        if not self._looks % 64:
            self.look()


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


def _kind(character: str) -> str:
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


# --- the automaton ---------------------------------------------------------------------------------------------------

ACCEPT = 0


class State:
    """Where an automaton may be behind some characters: `kernel`, places that it has come to. In front of them stood a character of the
    kind `before`. `begins`: a match may begin here, `restarts`: and at every later place. `next` by character: the state behind it, and
    whether a match ended before it."""

    __slots__ = ("before", "begins", "kernel", "next", "restarts")

    def __init__(self, kernel: frozenset[int], before: str, begins: bool, restarts: bool) -> None:
        self.kernel = kernel
        self.before = before
        self.begins = begins
        self.restarts = restarts
        self.next: dict[str, tuple[State, bool]] = {}


class Pattern:
    """A pattern, ready to run. Raises ValueError where it is not understood."""

    def __init__(self, pattern: str, *, nested: bool = False) -> None:
        if len(pattern) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        #: by place: what is there, and which places come behind it
        self._places: list[tuple[Characters | Callable[[str, str], bool] | None, list[int]]] = [(None, [])]
        self._start = self._built(Reader(pattern, nested=nested).read(), ACCEPT)
        self._states: dict[tuple[frozenset[int], str, bool, bool], State] = {}
        self._steps = 0
        self._first = self._first_characters()

    # --- running ---

    def start(self, before: str = "") -> State:
        """The state at the beginning of a text, or behind this character. A state without `kernel` has no match under way."""
        return self._state(frozenset(), _kind(before) if before else BEGIN, begins=True, restarts=True)

    def step(self, state: State, character: str, deadline: Deadline) -> tuple[State, bool]:
        """The state behind one more character, and whether a match ended before it."""
        return state.next.get(character) or self._made(state, character, deadline)

    def ended(self, state: State) -> bool:
        """Does a match end here, where the text ends?"""
        return ACCEPT in self._reached(state.kernel, state.before, END)

    def spans(self, text: str, deadline: Deadline, before: str = "") -> list[tuple[int, int]]:
        """Where it fits, from left to right; `before` is the character in front. Raises TooSlow."""
        found: list[tuple[int, int]] = []
        for start, end in self._segments(text, deadline, before):
            place = start
            while place < end:
                until = self._longest(text, place, deadline, text[place - 1] if place else before)
                if until > place:
                    found.append((place, until))
                place = max(until, place + 1)
                deadline.step()
        return found

    def _segments(self, text: str, deadline: Deadline, before: str) -> Iterable[tuple[int, int]]:
        """Parts of the text in which matches lie, which begin and end where none is under way."""
        place, length = 0, len(text)
        while place < length:
            first = self._first.search(text, place)
            if first is None:
                return
            began = place = first.start()
            state, hit = self.start(text[place - 1] if place else before), False
            while place < length:
                state, accepted = state.next.get(text[place]) or self._made(state, text[place], deadline)
                hit = hit or accepted
                place += 1
                if not place % A_LOOK:
                    deadline.look()
                if not state.kernel:
                    break
            if hit or (place == length and self.ended(state)):
                yield began, place

    def _longest(self, text: str, place: int, deadline: Deadline, before: str) -> int:
        """Where the longest match ends that begins here; here where there is none."""
        state = self._state(frozenset(), _kind(before) if before else BEGIN, begins=True, restarts=False)
        longest = place
        for at in range(place, len(text)):
            state, accepted = state.next.get(text[at]) or self._made(state, text[at], deadline)
            if accepted:
                longest = at
            if not state.kernel:
                return longest
            if not at % A_LOOK:
                deadline.look()
        return len(text) if self.ended(state) else longest

    def _made(self, state: State, character: str, deadline: Deadline) -> tuple[State, bool]:
        """Take a step for the first time."""
        deadline.step()
        behind = _kind(character)
        reached = self._reached(state.kernel, state.before, behind)
        accepted = ACCEPT in reached
        if state.begins:
            reached = reached | self._reached(frozenset((self._start,)), state.before, behind)
        kernel = set[int]()
        for place in reached:
            what, following = self._places[place]
            if isinstance(what, Characters) and what.has(character):
                kernel.update(following)
        following_state = self._state(frozenset(kernel), behind, begins=state.restarts, restarts=state.restarts)
        self._steps += 1
        if self._steps > KEPT_STEPS or len(self._states) > KEPT_STATES:
            self._states.clear()
            self._steps = 0
            state.next.clear()
        step = state.next[character] = following_state, accepted
        return step

    def _state(self, kernel: frozenset[int], before: str, *, begins: bool, restarts: bool) -> State:
        key = (kernel, before, begins, restarts)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(*key)
        return state

    def _reached(self, places: Iterable[int], before: str, behind: str) -> frozenset[int]:
        """All places that are come to from these without a character."""
        reached: set[int] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in reached:
                continue
            reached.add(place)
            what, following = self._places[place]
            if what is None or (not isinstance(what, Characters) and what(before, behind)):
                waiting.extend(following)
        return frozenset(reached)

    # --- making ---

    def _place(self, what: Characters | Callable[[str, str], bool] | None, following: list[int]) -> int:
        if len(self._places) >= MOST_STATES:
            raise ValueError(f"it is too large: its repetitions come to more than {MOST_STATES} characters")
        self._places.append((what, following))
        return len(self._places) - 1

    def _built(self, node: Node, following: int) -> int:
        """The place at which this node begins, behind which comes `following`."""
        match node:
            case Characterwise():
                return self._place(node.characters, [following])
            case Assertion():
                return self._place(node.holds, [following])
            case Row():
                for part in reversed(node.parts):
                    following = self._built(part, following)
                return following
            case Either():
                return self._place(None, [self._built(way, following) for way in node.ways])
        return self._repeat(node, following)

    def _repeat(self, node: Repeat, following: int) -> int:
        if node.most is None:
            loop = self._place(None, [following])
            self._places[loop][1].append(self._built(node.part, loop))
            following = loop
        else:
            end = following
            for _ in range(node.most - node.least):
                following = self._place(None, [end, self._built(node.part, following)])
        for _ in range(node.least):
            following = self._built(node.part, following)
        return following

    def _first_characters(self) -> re.Pattern[str]:
        """What a match can begin with."""
        waiting, seen, sources = [self._start], set[int](), set[str]()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            what, following = self._places[place]
            if isinstance(what, Characters):
                sources.add(what.source)
            else:
                waiting.extend(following)
        return re.compile("|".join(sorted(sources)) if sources else r"[^\s\S]")


@lru_cache(maxsize=1000)
def compiled(pattern: str) -> Pattern:
    """A pattern of the owner's. Raises ValueError with what is wrong with it."""
    return Pattern(pattern)
