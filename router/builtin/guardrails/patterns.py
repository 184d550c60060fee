"""Regular expressions in linear time: the owner's patterns run over text that anybody may have written.

`re` backtracks, and nothing can stop it once it has begun. Here a pattern (what it may say: `syntax`) becomes an automaton that takes
one step for each character, whose states are made as they are met. Of the matches that begin first the longest counts.

An automaton also knows when no match can be under way, so that a stream is held back only where one is (`Pattern.start`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from .deadline import Deadline
from .syntax import BEGIN, END, Assertion, Characters, Characterwise, Either, Node, Reader, Repeat, Row, kind_of

#: characters of a pattern
LONGEST = 100_000
#: and states of its automaton, with repetitions written out
MOST_STATES = 100_000
#: states that are kept of one pattern before it begins anew
KEPT_STATES = 2000
KEPT_STEPS = 50_000
#: characters between two looks at the clock
A_LOOK = 4096
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
        return self._state(frozenset(), kind_of(before) if before else BEGIN, begins=True, restarts=True)

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
        state = self._state(frozenset(), kind_of(before) if before else BEGIN, begins=True, restarts=False)
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
        behind = kind_of(character)
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
