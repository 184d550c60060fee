"""Which request members an OpenAI model takes: reasoning models differ from the others, and from each other.

From OpenAI's reference of chat completions and its reasoning guide, seen in November 2026.
"""

from __future__ import annotations

import re

#: o1, o3-mini, o4-mini-2025-04-16, gpt-5, gpt-5.2-pro, codex-mini-latest, and fine-tuned ones (ft:o4-mini:…)
_REASONING = re.compile(r"(?:ft:)?(?:o\d|gpt-5|codex)")
#: the chat variants of GPT-5 do not reason
_PLAIN_CHAT = re.compile(r"(?:ft:)?gpt-5(?:\.3)?-chat")
_O_SERIES = re.compile(r"(?:ft:)?o\d")
#: without an effort these do not think, and take the sampling members
_RESTS = re.compile(r"(?:ft:)?gpt-5\.[124](?:-(?:mini|nano))?(?:-\d{4}-\d\d-\d\d)?$")
#: these can be told not to think: from 5.1 on
_CAN_REST = re.compile(r"(?:ft:)?gpt-5\.\d")

#: models that go on with a text instead of answering
_COMPLETES = re.compile(r"(?:ft:)?(?:gpt-3\.5-turbo-instruct|davinci|babbage|curie|ada|text-(?!embedding|moderation))")
#: models that are found in chat completions and nowhere else
_CHAT_ONLY = re.compile(r"-audio(?:-|$)|-search-(?:preview|api)")

_SAMPLING = frozenset({"temperature", "top_p", "logprobs", "top_logprobs"})
_NEVER_WITH_REASONING = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "stop"})
_ALL = frozenset(
    {
        *(
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "frequency_penalty",
            "presence_penalty",
            "stop",
            "seed",
        ),
        *(
            "n",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "user",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "verbosity",
        ),
        *("response_format", "structured_outputs", "reasoning", "include_reasoning", "reasoning_effort"),
    }
)
#: not OpenAI's at all: answered with 400
FOREIGN = frozenset({"top_k", "min_p", "top_a", "repetition_penalty", "cache_control"})


def reasons(model: str) -> bool:
    """Is it a reasoning model? They have the developer role, `max_completion_tokens` and `reasoning_effort`."""
    return bool(_REASONING.match(model)) and not _PLAIN_CHAT.match(model)


def counts_completion(model: str) -> bool:
    """Is its limit called `max_completion_tokens`?"""
    return bool(_REASONING.match(model))


def refused(model: str, effort: str | None) -> frozenset[str]:
    """The members that this model answers with 400, given the effort that is asked for (None: its own default)."""
    if not reasons(model):
        return FOREIGN | {"reasoning_effort", *(() if _REASONING.match(model) else ("verbosity",))}
    gone = FOREIGN | _NEVER_WITH_REASONING
    if _O_SERIES.match(model):
        gone |= {"parallel_tool_calls", "verbosity"}
    resting = _CAN_REST.match(model) if effort == "none" else effort is None and _RESTS.match(model)
    return gone if resting else gone | _SAMPLING


def refused_in_responses(model: str, effort: str | None) -> frozenset[str]:
    """The same for the Responses API, which never had the penalties."""
    gone = FOREIGN | _NEVER_WITH_REASONING | {"seed"}
    if not reasons(model):
        return gone | {"reasoning"}
    return gone | (refused(model, effort) & {"temperature", "top_p", "top_logprobs"})


def completes(model: str) -> bool:
    """Has it the API of text completions?"""
    return bool(_COMPLETES.match(model))


def converses(model: str) -> bool:
    """Has it the Responses API?"""
    return not completes(model) and not _CHAT_ONLY.search(model)


def parameters_of(model: str) -> set[str]:
    """The request members that the model takes at its default effort, as the catalogue lists them."""
    return set(_ALL - refused(model, None)) - (set() if reasons(model) else {"reasoning", "include_reasoning"})
