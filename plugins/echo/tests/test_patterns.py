"""A text made for a pattern matches it: `re` says so."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from router_echo.patterns import PatternError, matching

PIECES = st.sampled_from(
    [
        *(
            "a",
            "-",
            r"\.",
            r"\d",
            r"\w",
            r"\s",
            r"\D",
            r"\W",
            r"\S",
            ".",
            "[a-f]",
            "[^a-z]",
            r"[\d_-]",
            "[]x]",
            r"[^\w\s]",
        ),
        *(r"\x41", r"é", r"[+\-]", "(?:no|yes)", "(ab)", "(|z)"),
    ]
)
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "+?", "{0,4}?"])
PATTERNS = st.lists(st.tuples(PIECES, COUNTS), max_size=6).map(lambda pairs: "".join(f"(?:{a}){b}" for a, b in pairs))


@given(PATTERNS)
@settings(max_examples=300, deadline=None)
def test_the_text_matches(pattern: str) -> None:
    assert re.fullmatch(pattern, matching(pattern))
    assert re.search(f"^{pattern}$", matching(f"^{pattern}$"))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^\d{4}-\d{2}$", "0000-00"),
        (r"^[A-Z]{2}[0-9]*$", "AA"),
        (r"^(red|green)$", "red"),
        (r"^\+?[1-9]\d{1,14}$", "10"),
        (r"^(?P<letter>x)-(?<digit>\d)$", "x-0"),
        (r"^#([0-9a-fA-F]{3}){1,2}$", "#000"),
    ],
)
def test_examples(pattern: str, text: str) -> None:
    assert matching(pattern) == text


@given(st.integers(0, 300))
@settings(deadline=None)
def test_a_length_is_reached_where_something_repeats(shortest: int) -> None:
    text = matching("^[a-z]+(?:-[0-9])*$", shortest, shortest + 4)

    assert shortest <= len(text) <= shortest + 4
    assert re.search("^[a-z]+(?:-[0-9])*$", text)


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a)", "*", r"\b", r"(a)\1", "(?!x)", "(?<=x)", "\\", r"\u12", "[z-a]", r"\p{L}"]
)
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        matching(pattern)


@pytest.mark.parametrize(("pattern", "shortest", "longest"), [("^abc$", 4, None), ("^a{5}$", 0, 4)])
def test_a_length_that_cannot_be_had_is_refused(pattern: str, shortest: int, longest: int | None) -> None:
    with pytest.raises(PatternError):
        matching(pattern, shortest, longest)
