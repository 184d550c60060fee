"""What a moderation model's words mean, and what it gets to see."""

from __future__ import annotations

import json

import pytest
from router_moderation.content import PIECE_CHARS, Content
from router_moderation.verdicts import Result, judge, quote_of, reasons_of


@pytest.mark.parametrize(
    ("result", "thresholds", "reasons"),
    [
        (Result(flagged=True, categories={"hate": True, "violence": False}), {}, ["hate"]),
        (Result(flagged=False, categories={"hate": False}, category_scores={"hate": 0.3}), {"hate": 0.2}, ["hate"]),
        (Result(flagged=True, categories={"hate": True}, category_scores={"hate": 0.3}), {"hate": 0.9}, []),
        (Result(flagged=True, categories={"hate": True, "sexual": True}), {"hate": 0.9}, ["sexual"]),
        (Result(flagged=None, categories={"pii": True}), {}, ["pii"]),
        (Result(flagged=True), {}, ["flagged"]),
        (Result(flagged=False, categories={"illicit": None}, category_scores={"illicit": None}), {"illicit": 0.1}, []),
    ],
    ids=["its word", "threshold", "below it", "others count", "no flagged", "no categories", "null"],
)
def test_reasons(result: Result, thresholds: dict[str, float], reasons: list[str]) -> None:
    assert reasons_of(result, thresholds) == reasons


def test_the_first_that_was_flagged_is_quoted() -> None:
    results = [{"flagged": held, "categories": {"hate": held}} for held in (False, True, True)]

    verdict = judge(json.dumps({"results": results}).encode(), ["fine", "bad", "worse"], {}, "openai")

    assert (verdict.reasons, verdict.quote, verdict.provider) == (["hate"], "bad", "openai")


def test_an_answer_that_does_not_fit_is_none() -> None:
    with pytest.raises(ValueError, match="0 results for 1"):
        judge(b'{"results": []}', ["a"], {}, "")


def test_a_quote_has_a_hundred_characters() -> None:
    assert quote_of("a" * 100) == "a" * 100
    assert (len(quote_of("a" * 500 + "b")), quote_of("a" * 500 + "b")[-1]) == (99, "b")


def test_everything_is_asked_about() -> None:
    long = "x" * (PIECE_CHARS * 40 + 1)
    questions = list(Content(texts=["", " ", long, "end"], images=["https://a.example/1.png"]).questions())

    texts = [piece for question in questions[:-1] for piece in question]
    assert "".join(texts) == long + "end"
    assert max(map(len, questions)) <= 32
    assert questions[-1] == [{"type": "image_url", "image_url": {"url": "https://a.example/1.png"}}]
