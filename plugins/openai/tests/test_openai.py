"""What OpenAI gets: what it takes, and nothing that the model refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from router_openai import OpenAI
from router_openai.deviations import parameters_of, reasons

from router import Price, Timeouts
from router.prices import PriceOverride
from router.testing import FakeUpstream, json_answer

Sent = Callable[..., dict[str, Any]]

SAMPLING = {"temperature": 0.5, "top_p": 0.5, "frequency_penalty": 0.1, "presence_penalty": 0.1, "logit_bias": {"1": 2}}
FOREIGN = {"top_k": 5, "min_p": 0.1, "top_a": 0.1, "repetition_penalty": 1.1}


def rest(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what every body has."""
    return {name: value for name, value in body.items() if name not in ("model", "messages")}


@pytest.mark.parametrize(
    ("model", "yes"),
    [
        ("o1", True),
        ("o4-mini-2025-04-16", True),
        ("gpt-5", True),
        ("gpt-5.2-pro", True),
        ("ft:o4-mini:acme::1", True),
        ("codex-mini-latest", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-4.1-mini", False),
        ("omni-moderation-latest", False),
    ],
)
def test_which_models_reason(model: str, yes: bool) -> None:
    assert reasons(model) == yes


# --- members ---------------------------------------------------------------------------------------------------------


def test_a_chat_model_takes_all_of_openais_members(sent: Sent) -> None:
    members = {**SAMPLING, "seed": 1, "stop": ["a"], "logprobs": True, "top_logprobs": 2, "user": "u", "n": 2}

    assert rest(sent("gpt-4.1", {**members, **FOREIGN, "max_tokens": 9})) == {**members, "max_tokens": 9}
    assert sorted(sent.dropped) == sorted(FOREIGN)  # type: ignore[attr-defined]


def test_a_reasoning_model_takes_no_sampling(sent: Sent) -> None:
    body = sent("o4-mini", {**SAMPLING, "stop": ["a"], "seed": 1, "max_tokens": 9, "parallel_tool_calls": True})

    assert rest(body) == {"seed": 1, "max_completion_tokens": 9}
    assert sorted(sent.dropped) == sorted({*SAMPLING, "stop", "parallel_tool_calls"})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "effort", "kept"),
    [
        ("gpt-5", None, False),
        ("gpt-5", "none", False),
        ("gpt-5.2", None, True),
        ("gpt-5.2", "none", True),
        ("gpt-5.2", "low", False),
        ("gpt-5.5", None, False),
        ("gpt-5.5", "none", True),
    ],
)
def test_a_resting_model_takes_a_temperature(model: str, effort: str | None, kept: bool, sent: Sent) -> None:
    asked = {"temperature": 0.5} | ({"reasoning_effort": effort} if effort else {})

    assert ("temperature" in sent(model, asked)) == kept


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("gpt-5", {"effort": "high"}, "high"),
        ("gpt-5", {"effort": "none"}, "minimal"),
        ("gpt-5.2", {"effort": "none"}, "none"),
        ("gpt-5.2", {"effort": "minimal"}, "low"),
        ("gpt-5.2", {"effort": "max"}, "xhigh"),
        ("o3", {"effort": "xhigh"}, "high"),
        ("o3", {"max_tokens": 2000}, "low"),
        ("gpt-5-2025-08-07", {"effort": "xhigh"}, "xhigh"),
        ("gpt-4o", {"effort": "high"}, None),
    ],
)
def test_efforts(model: str, asked: dict[str, Any], expected: str | None, sent: Sent) -> None:
    body = sent(model, {"reasoning": asked})

    assert body.get("reasoning_effort") == expected
    assert "reasoning" not in body


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("gpt-5", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("gpt-5-chat-latest", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("gpt-4o", {"max_completion_tokens": 9}, {"max_tokens": 9}),
    ],
)
def test_the_limit_has_the_models_name(model: str, asked: Any, expected: Any, sent: Sent) -> None:
    assert rest(sent(model, asked)) == expected


def test_developers(sent: Sent) -> None:
    messages = {"messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}]}

    assert sent("gpt-5", messages)["messages"][0]["role"] == "developer"
    assert sent("gpt-4o", messages)["messages"][0]["role"] == "system"


def test_what_only_routers_know_of_messages_is_left_out(sent: Sent) -> None:
    assistant = {"role": "assistant", "content": "yes", "reasoning": "because", "reasoning_details": [], "images": []}
    user = {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}

    body = sent("gpt-4o", {"messages": [user, assistant, user]})

    assert body["messages"][1] == {"role": "assistant", "content": "yes"}
    assert "cache_control" not in str(body)


def test_openais_own_members_pass(sent: Sent) -> None:
    own = {"store": True, "metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k", "verbosity": "low"}

    assert rest(sent("gpt-5.2", {**own, "brand_new": 1})) == {**own, "brand_new": 1}


# --- the rest --------------------------------------------------------------------------------------------------------


def test_the_catalogue(provider: OpenAI) -> None:
    models = {model.id: model for model in provider.catalogue()}

    assert models["gpt-5.5"].price == Price(
        prompt=5_000_000,
        completion=30_000_000,
        input_cache_read=500_000,
        web_search=10_000_000_000,
        overrides=[
            PriceOverride(
                min_prompt_tokens=272_001, prompt=10_000_000, completion=45_000_000, input_cache_read=1_000_000
            )
        ],
    )
    assert models["gpt-5.2"].efforts == ["xhigh", "high", "medium", "low", "none"]
    assert models["text-embedding-3-small"].output_modalities == ["embeddings"]
    assert models["gpt-image-1"].output_modalities == ["image"]
    assert {"tools", "temperature", "response_format"} <= set(models["gpt-4.1"].parameters)
    assert not {"temperature", "stop", "top_p"} & set(models["o3"].parameters)
    assert all(model.deprecated is False for model in models.values())


def test_an_unknown_model_takes_what_its_family_takes(provider: OpenAI) -> None:
    model = provider.unknown("gpt-5.9-mini-2027-01-01")

    assert set(model.parameters) == parameters_of("gpt-5.9-mini-2027-01-01")
    assert "reasoning_effort" in model.parameters
    assert (model.reasoning, model.price) == (True, None)


def test_it_is_there_when_its_key_is() -> None:
    assert [(each.slug, each.environment) for each in OpenAI.automatic] == [("openai", "OPENAI_API_KEY")]


async def test_usage_is_counted_under_a_project() -> None:
    async with FakeUpstream().listening() as upstream:
        upstream.will(json_answer({"data": [{"id": "gpt-4o", "created": 5}]}))
        table = {
            "plugin": "openai",
            "api_key": "k",
            "base_url": f"{upstream.url}/v1",
            "organization": "org-1",
            "project": "proj-1",
        }
        provider = OpenAI("openai", msgspec.convert(table, OpenAI.Settings), Timeouts())

        listed = await provider.models()
        await provider.close()

    assert [model.id for model in listed] == ["gpt-4o"]
    headers = upstream.asked[0].headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-1", "proj-1")
    assert headers["Authorization"] == "Bearer k"
