"""The `openrouter` SDK, unmodified, about all of this API that it knows: it checks all that it gets. Only `third-party` has it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import Stage

sdk: Any = pytest.importorskip("openrouter", reason="the SDK of OpenRouter is in the environment third-party")


@pytest.fixture
def asker(stage: Stage) -> Iterator[Any]:
    with sdk.OpenRouter(api_key=stage.key, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as asker:
        yield asker


@pytest.fixture
def manager(stage: Stage) -> Iterator[Any]:
    with sdk.OpenRouter(api_key=stage.management, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as manager:
        yield manager


def pages(first: Any) -> list[list[str]]:
    """The ids of all pages, as the SDK finds the next one itself."""
    found = []
    while first is not None and first.result.data:
        found.append([model.id for model in first.result.data])
        first = first.next()
    return found


def test_models_in_pages(asker: Any) -> None:
    whole = [model.id for model in asker.models.list().result.data]
    found = pages(asker.models.list(limit=40))

    assert [id for page in found for id in page] == whole
    assert {len(page) for page in found[:-1]} == {40}
    assert asker.models.count().data.count == len(whole)


def test_models_in_part(asker: Any) -> None:
    vectors = [model.id for model in asker.models.list(output_modalities="embeddings").result.data]
    long = asker.models.list(context=500_000, sort="pricing-low-to-high", supported_parameters="tools").result.data

    assert "openai/text-embedding-3-small" in vectors
    assert vectors == [model.id for model in asker.embeddings.list_models().result.data]
    prices = [float(model.pricing.prompt) + float(model.pricing.completion) for model in long]
    assert prices == sorted(prices)
    assert all(model.context_length >= 500_000 for model in long)


def test_what_a_key_may_ask(asker: Any, stage: Stage) -> None:
    listed = asker.models.list_for_user(security={"bearer": stage.key}).result.data

    assert "echo/echo" in [model.id for model in listed]


def test_a_model_and_its_endpoints(asker: Any, stage: Stage) -> None:
    author, _, slug = stage.models["anthropic"].partition("/")
    asker.chat.send(model=f"{author}/{slug}", messages=[{"role": "user", "content": "Hello"}])

    model = asker.models.get(author=author, slug=slug).data
    found = asker.endpoints.list(author=author, slug=slug).data

    assert model.id == found.id == f"{author}/{slug}"
    (endpoint,) = found.endpoints
    assert (endpoint.provider_name, endpoint.status, endpoint.uptime_last_5m) == (author, 0, 100)
    assert endpoint.latency_last_30m.p50 > 0
    assert asker.endpoints.list_zdr_endpoints().data == []


def test_providers(asker: Any) -> None:
    assert {"openai", "anthropic", "gemini", "echo"} <= {each.slug for each in asker.providers.list().data}


def test_presets(asker: Any, stage: Stage) -> None:
    """Made with the management key of three APIs' bodies, read, and used by a chat."""
    hello = [{"role": "user", "content": "Hello"}]
    with sdk.OpenRouter(api_key=stage.management, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as manager:
        presets = manager.presets
        system = {"role": "system", "content": "Be brief."}
        made = presets.create_presets_chat_completions(
            slug="sdk", model="echo/echo", temperature=0.5, messages=[system, *hello]
        ).data
        presets.create_presets_messages(slug="sdk", model="echo/echo", max_tokens=99, messages=hello)
        newest = presets.create_presets_responses(
            slug="sdk", model="echo/echo", max_output_tokens=2, input="Hello"
        ).data

        assert made.designated_version.config["temperature"] == 0.5
        assert made.designated_version.system_prompt == "Be brief."
        assert presets.get(slug="sdk").data == newest
        assert [each.version for each in presets.list_versions(slug="sdk").result.data] == [1, 2, 3]
        assert presets.get_version(slug="sdk", version="1").data == made.designated_version
        assert [each.slug for each in presets.list().result.data] == ["sdk"]
        with pytest.raises(sdk.errors.NotFoundResponseError):
            presets.get(slug="nothing")

    answer = asker.chat.send(model="@preset/sdk", messages=[{"role": "user", "content": "one two three four"}])

    assert answer.choices[0].message.content == "one two"


def test_guardrails(stage: Stage) -> None:
    """Made, changed, given to a key and to a member, and taken away."""
    with sdk.OpenRouter(api_key=stage.management, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as manager:
        guardrails = manager.guardrails
        made = guardrails.create(
            name="sdk",
            allowed_models=["echo/*"],
            limit_usd=5,
            reset_interval="daily",
            content_filter_builtins=[{"slug": "email", "action": "redact"}],
            content_filters=[{"pattern": r"\bsecret\b", "action": "block", "label": "[S]"}],
        ).data
        key = manager.api_keys.create(name="guarded by the sdk")

        assert guardrails.get(id=made.id).data == made
        assert guardrails.update(id=made.id, limit_usd=6).data.limit_usd == 6
        assert made.id in [each.id for each in guardrails.list().result.data]
        assert guardrails.bulk_assign_keys(id=made.id, key_hashes=[key.data.hash]).assigned_count == 1
        assert guardrails.bulk_assign_members(id=made.id, member_user_ids=["somebody"]).assigned_count == 1
        (held,) = guardrails.list_guardrail_key_assignments(id=made.id).result.data
        assert (held.key_hash, held.guardrail_id) == (key.data.hash, made.id)
        assert guardrails.list_key_assignments().result.data == [held]
        (joined,) = guardrails.list_guardrail_member_assignments(id=made.id).result.data
        assert guardrails.list_member_assignments().result.data == [joined]

        with sdk.OpenRouter(api_key=key.key, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as guarded:
            said = guarded.chat.send(model="echo/echo", messages=[{"role": "user", "content": "ask a@example.com"}])
            assert said.choices[0].message.content == "ask [EMAIL]"
            with pytest.raises(sdk.errors.ForbiddenResponseError):
                guarded.chat.send(model="echo/echo", messages=[{"role": "user", "content": "a secret"}])

        assert guardrails.bulk_unassign_keys(id=made.id, key_hashes=[key.data.hash]).unassigned_count == 1
        assert guardrails.bulk_unassign_members(id=made.id, member_user_ids=["somebody"]).unassigned_count == 1
        guardrails.delete(id=made.id)
        manager.api_keys.delete(hash=key.data.hash)
        with pytest.raises(sdk.errors.NotFoundResponseError):
            guardrails.get(id=made.id)


def test_workspaces(stage: Stage) -> None:
    """Made, changed, with a budget, and taken away; and who works in them."""
    with sdk.OpenRouter(api_key=stage.management, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as manager:
        workspaces = manager.workspaces
        made = workspaces.create(name="SDK", slug="sdk").data

        assert workspaces.get(id=made.id).data == made
        assert workspaces.update(id=made.id, description="for tests").data.description == "for tests"
        assert [each.slug for each in workspaces.list().result.data] == ["default", "sdk"]
        budget = workspaces.set_budget(workspace_ref=made.id, interval="monthly", limit_usd=3).data
        assert workspaces.get_budget(workspace_ref=made.id, interval="monthly").data == budget
        assert workspaces.list_budgets(workspace_ref=made.id).data == [budget]
        workspaces.delete_budget(workspace_ref=made.id, interval="monthly")
        (member,) = workspaces.list_members(id=made.id).result.data
        assert member.user_id == manager.organization.list_members().result.data[0].id
        workspaces.delete(id=made.id)


def test_a_model_that_is_not_there(asker: Any) -> None:
    with pytest.raises(sdk.errors.NotFoundResponseError) as refused:
        asker.models.get(author="nobody", slug="nothing")

    assert "nobody/nothing" in str(refused.value)


def test_keys_are_made_changed_and_deleted(manager: Any, stage: Stage) -> None:
    name, until = f"key {secrets.token_hex(4)}", datetime(2999, 1, 2, tzinfo=UTC)
    made = manager.api_keys.create(
        name=name, limit=5, limit_reset="weekly", include_byok_in_limit=True, expires_at=until
    )
    hash = made.data.hash
    assert (made.data.name, made.data.limit, made.data.limit_remaining, made.data.limit_reset) == (name, 5, 5, "weekly")
    assert (made.data.expires_at, made.data.usage, made.data.disabled) == (until, 0, False)

    with sdk.OpenRouter(api_key=made.key, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as owner:
        owner.chat.send(model="echo/echo", messages=[{"role": "user", "content": "Hello"}])
        current = owner.api_keys.get_current_key_metadata().data
        assert (current.limit, current.label, current.is_management_key) == (5, made.data.label, False)
        with pytest.raises(sdk.errors.OpenRouterError) as refused:
            owner.api_keys.list()
        assert refused.value.status_code == 403

    changed = manager.api_keys.update(hash=hash, name=f"{name} too", limit=None, disabled=True).data
    assert (changed.name, changed.limit, changed.disabled, changed.limit_reset) == (f"{name} too", None, True, "weekly")
    assert hash not in [key.hash for key in listed(manager)]
    assert hash in [key.hash for key in listed(manager, include_disabled=True)]
    assert manager.api_keys.get(hash=hash).data.last_used_at is not None
    assert manager.api_keys.delete(hash=hash).DELETED
    with pytest.raises(sdk.errors.NotFoundResponseError):
        manager.api_keys.get(hash=hash)


def listed(manager: Any, **query: Any) -> list[Any]:
    """All keys: the SDK's pages go by offset, until one is empty."""
    found, offset = [], 0
    while page := _data(manager.api_keys.list(offset=offset, **query)):
        found += page
        offset += len(page)
    return found


def _data(answer: Any) -> Any:
    return getattr(answer, "result", answer).data


def test_a_code_is_exchanged_for_a_key(manager: Any, stage: Stage) -> None:
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    app = {"callback_url": "https://app.example/back", "code_challenge": challenge, "code_challenge_method": "S256"}

    made = manager.o_auth.create_auth_code(**app, limit=2, key_label="an app", usage_limit_type="monthly").data
    with sdk.OpenRouter(server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as anybody:
        with pytest.raises(sdk.errors.ForbiddenResponseError):
            anybody.o_auth.exchange_auth_code_for_api_key(
                code=made.id, code_verifier="wrong", code_challenge_method="S256"
            )
        found = anybody.o_auth.exchange_auth_code_for_api_key(
            code=made.id, code_verifier=verifier, code_challenge_method="S256"
        )

    assert found.user_id is None
    with sdk.OpenRouter(api_key=found.key, server_url=f"{stage.url}/api/v1", timeout_ms=20_000) as owner:
        assert owner.api_keys.get_current_key_metadata().data.limit == 2
        assert owner.chat.send(model="echo/echo", messages=[{"role": "user", "content": "Hello"}]).choices


HELLO = [{"role": "user", "content": "one two three"}]


def test_a_call_and_its_record(asker: Any, manager: Any) -> None:
    """Generation, credits, activity and analytics tell of the same call."""
    before = manager.credits.get_credits().data
    answer = asker.chat.send(model="echo/echo", messages=HELLO)

    record = asker.generations.get_generation(id=answer.id).data
    assert (record.id, record.model) == (answer.id, "echo/echo")
    assert (record.tokens_prompt, record.tokens_completion) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert record.usage == record.total_cost == 0
    assert manager.credits.get_credits().data == before
    today = [row for row in manager.analytics.get_user_activity().data if row.model == "echo/echo"]
    assert sum(row.requests for row in today) >= 1
    assert all(str(row.date_).startswith(f"{datetime.now(UTC):%Y}") for row in today)
    with pytest.raises(sdk.errors.NotFoundResponseError):
        asker.generations.get_generation(id="gen-nothing")


def test_a_stream(asker: Any) -> None:
    with asker.chat.send(model="echo/echo", messages=HELLO, stream=True) as events:
        chunks = list(events)

    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "one two three"
    assert chunks[-1].usage.completion_tokens > 0


def test_responses(asker: Any) -> None:
    whole = asker.responses.send(model="echo/echo", input="one two three")
    with asker.responses.send(model="echo/echo", input="one two three", stream=True) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]

    assert whole.output[0].content[0].text == "".join(deltas) == "one two three"


def test_vectors(asker: Any) -> None:
    found = asker.embeddings.generate(model="echo/echo", input=["one", "two"])

    assert [each.index for each in found.data] == [0, 1]
    assert all(isinstance(number, float) for each in found.data for number in each.embedding)
