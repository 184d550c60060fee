"""The statement of what recordings say, checked by hand for some and for sanity for all; no router takes part."""

from __future__ import annotations

import pytest

from .expected import Failure, Reply, Usage, expected
from .recordings import Recording
from .upstream import packets

pytestmark = pytest.mark.wire

#: read from the files by eye: finish reason, length of the text, names of the calls, usage
BY_EYE = {
    "anthropic-61ea6a": ("length", 447, [], Usage(18 + 2055, 100, 0, 2055)),
    "anthropic-2f6058": ("tool_calls", 50, ["add", "multiply"], Usage(502, 137)),
    "anthropic-993d4e": ("content_filter", 2, [], Usage(28, 106, reasoning=67)),
    "anthropic-663e7c": ("stop", 8, [], Usage(181 + 55096, 8, 55096)),
    "anthropic-4112e0": ("tool_calls", 157, ["rollDie"], Usage(3369, 725)),
    "azure-955551": ("content_filter", 0, [], Usage(15, 19)),
    "databricks-3d6cfd": ("stop", 155, [], Usage(22, 37)),
    "deepseek-6d585a": ("tool_calls", 0, ["best_language_to_learn"], Usage(496, 31, 384)),
    "gemini-093d5c": ("tool_calls", 0, ["generate_topic"] * 3, Usage(83, 30 + 190, reasoning=190)),
    "gemini-39f7bd": ("tool_calls", 0, ["read_theme"] + ["read_screen"] * 3, Usage(249, 58 + 183, reasoning=183)),
    "gemini-3606a9": ("stop", 53, [], Usage(893 + 3056, 106 + 1312, reasoning=1312)),
    "gemini-cade19": ("content_filter", 0, [], None),
    "groq-f25215": ("stop", 277, [], Usage(18, 73)),
    "openai-d6ea49": ("tool_calls", 0, ["llm_version"], Usage(57, 17)),
    "snowflake-0a4a46": ("stop", 1, [], Usage(22, 5)),
    "vercel-gateway-88e588": ("stop", 69, [], Usage(223, 25 + 266, reasoning=266)),
    "xai-a7ff82": ("tool_calls", 0, ["Person"], Usage(429, 44 + 502, 192, reasoning=502)),
}


#: the same of sources
CITED_BY_EYE = {
    "anthropic-555108": {"https://example.com/ruby-facts"},
    "anthropic-6ec1dd": set[str](),
    "openrouter-18db67": {"https://www.ruby-lang.org/en/downloads/"},
    "vertex-e14a38": {"https://www.example.com"},
}


@pytest.mark.parametrize("name", BY_EYE)
def test_statement_agrees_with_what_the_eye_sees(name: str, wire: dict[str, Recording]) -> None:
    finish, length, names, usage = BY_EYE[name]

    said = expected(wire[name])

    assert isinstance(said, Reply)
    assert (said.choices[0].finish, len(said.choices[0].text)) == (finish, length)
    assert [call.name for call in said.choices[0].calls] == names
    assert said.usage == usage


@pytest.mark.parametrize("name", CITED_BY_EYE)
def test_sources_agree_with_what_the_eye_sees(name: str, wire: dict[str, Recording]) -> None:
    said = expected(wire[name])

    assert isinstance(said, Reply)
    assert said.choices[0].cited == CITED_BY_EYE[name]


def test_every_recording_says_something(wire: dict[str, Recording]) -> None:
    for name, recording in wire.items():
        said = expected(recording)
        if isinstance(said, Failure):
            assert 400 <= said.status < 600, name
            continue
        for choice in said.choices.values():
            empty = not (choice.text or choice.refusal or choice.calls or choice.images)
            assert not empty or choice.finish in ("content_filter", "length"), name
            assert all(call.name for call in choice.calls), name
        if said.usage:
            assert 0 < said.usage.prompt < 10**6, name
            assert said.usage.cached + said.usage.cache_write <= said.usage.prompt, name
            assert 0 <= said.usage.reasoning <= said.usage.completion, name


@pytest.mark.parametrize("split", ["whole", "pieces", "bytes"])
def test_packets_lose_nothing(split: str) -> None:
    for size in (0, 1, 500, 8192, 100_000):
        raw = bytes(number % 251 for number in range(size))

        cut = list(packets(raw, split))

        assert b"".join(cut) == raw
        assert all(cut) or not raw
