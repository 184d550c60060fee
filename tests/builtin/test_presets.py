"""Presets: kept as they were given, laid under requests of every client API, and in force at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from google import genai
from google.genai import types

from router.builtin.presets.merge import chat, gemini, messages, responses
from router.settings import EndpointSettings, ModelSettings, PluginSettings, Settings
from router.store.audit import Change
from router.store.database import Database
from router.store.presets import MIGRATIONS, Presets
from router.testing import FakeUpstream, Running, completion, json_answer, running, until
from tests.clients.required import assert_complete
from tests.dialects.anthropic_making import whole_message

Start = Callable[..., Awaitable[Running]]

TOOL = {"type": "function", "function": {"name": "look", "description": "preset's", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
SAYS: dict[str, Any] = {
    "model": "fake/preset",
    "temperature": 0.3,
    "top_p": 0.5,
    "max_tokens": 77,
    "stop": ["END"],
    "tools": [TOOL, OTHER],
    "provider": {"only": ["fake"]},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "not kept"}],
    "stream": True,
    "user": "nobody",
}
HELLO = [{"role": "user", "content": "hello"}]
MESSAGE = whole_message()


@pytest.fixture
async def router(start: Start, upstream: FakeUpstream) -> Running:
    """Two providers at one upstream: one speaks chat, the other Messages."""
    upstream.will(json_answer(completion()))
    return await start(
        providers={
            "fake": {"plugin": "openai-compatible", "base_url": upstream.url + "/v1", "api_key": "k"},
            "claude": {"plugin": "anthropic", "base_url": upstream.url, "api_key": "k"},
        },
        models={"acme/one": ModelSettings(endpoints=[EndpointSettings(provider="fake", model="one")])},
    )


async def keep(router: Running, body: dict[str, Any], slug: str = "brief", form: str = "chat/completions") -> Any:
    answer = await router.post(f"/api/v1/presets/{slug}/{form}", body, key=router.management)
    assert answer.status == 200, await answer.text()
    return (await answer.json())["data"]


async def change(router: Running, method: str, slug: str, body: Any = None, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {router.management}"}
    url = f"{router.url}/v1/presets/{slug}"
    async with router.session.request(method, url, json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


# --- kept ------------------------------------------------------------------------------------------------------------


async def test_a_preset_is_what_the_body_says_without_what_belongs_to_one_call(router: Running) -> None:
    made = await keep(router, SAYS)
    read = (await (await router.get("/v1/presets/brief", key=router.management)).json())["data"]

    assert read == made
    assert made["designated_version"]["system_prompt"] == "Be brief."
    assert made["designated_version"]["config"] == {
        name: value for name, value in SAYS.items() if name not in ("messages", "stream", "user")
    }
    assert_complete("Preset", made)
    assert_complete("PresetDesignatedVersion", made["designated_version"])


async def test_every_body_makes_a_version_and_the_newest_is_in_force(router: Running, upstream: FakeUpstream) -> None:
    await keep(router, {"model": "fake/a"})
    await keep(router, {"model": "fake/b"})
    versions = await (await router.get("/v1/presets/brief/versions", key=router.management)).json()
    first = await (await router.get("/v1/presets/brief/versions/1", key=router.management)).json()
    answer = await router.post("/v1/chat/completions", {"model": "@preset/brief", "messages": HELLO})

    assert [(each["version"], each["config"]["model"]) for each in versions["data"]] == [(1, "fake/a"), (2, "fake/b")]
    assert versions["total_count"] == 2
    assert first["data"] == versions["data"][0]
    assert answer.status == 200
    assert upstream.asked[0].body["model"] == "b"
    assert (await router.get("/v1/presets/brief/versions/3", key=router.management)).status == 404


async def test_the_list_has_pages(router: Running) -> None:
    for slug in ("a", "b", "c"):
        await keep(router, {"model": "fake/m"}, slug)

    page = await (await router.get("/v1/presets?offset=1&limit=1", key=router.management)).json()

    assert (len(page["data"]), page["total_count"]) == (1, 3)
    assert (await router.get("/v1/presets?limit=101", key=router.management)).status == 400


async def test_a_preset_is_renamed_switched_off_and_deleted(router: Running) -> None:
    await keep(router, {"model": "fake/m"})
    ask = {"preset": "brief", "messages": HELLO}

    changed = (await change(router, "PATCH", "brief", {"name": "Brief", "status": "disabled"}))["data"]
    refused = await router.post("/v1/chat/completions", ask)
    await change(router, "PATCH", "brief", {"status": "active"})
    taken = await router.post("/v1/chat/completions", ask)
    gone = await change(router, "DELETE", "brief")
    after = await router.post("/v1/chat/completions", ask)

    assert (changed["name"], changed["status"]) == ("Brief", "disabled")
    assert changed["status_updated_at"] is not None
    assert gone == {"deleted": True}
    rows = await router.server.database.all("SELECT action, target FROM audit WHERE target = 'brief' ORDER BY rowid")
    assert rows == [(f"preset.{each}", "brief") for each in ("version", "update", "update", "delete")]
    assert [each.status for each in (refused, taken, after)] == [404, 200, 404]
    assert "disabled" in (await refused.json())["error"]["message"]
    await change(router, "DELETE", "brief", status=404)


@pytest.mark.parametrize(
    ("slug", "form", "body", "param"),
    [
        ("brief", "chat/completions", {"temperature": 3}, "temperature"),
        ("brief", "messages", {"max_tokens": 0}, "max_tokens"),
        ("brief", "responses", {"provider": {"orders": []}}, "provider.orders"),
        ("brief", "chat/completions", {"preset": "other"}, "preset"),
        ("brief", "chat/completions", {"model": "m@preset/other"}, "model"),
        ("-brief", "chat/completions", {"model": "fake/m"}, "slug"),
    ],
)
async def test_a_wrong_body_is_refused_in_openai_s_shape(
    router: Running, slug: str, form: str, body: dict[str, Any], param: str
) -> None:
    answer = await router.post(f"/api/v1/presets/{slug}/{form}", body, key=router.management)

    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == param


async def test_a_wrong_change_is_refused(router: Running) -> None:
    await keep(router, {"model": "fake/m"})

    for body in ({"status": "gone"}, {"name": ""}, {"slug": "other"}, []):
        await change(router, "PATCH", "brief", body, 400)


async def test_only_keys_that_may_manage_see_presets(router: Running) -> None:
    assert (await router.get("/v1/presets")).status == 403
    assert (await router.post("/v1/presets/brief/chat/completions", SAYS)).status == 403


async def test_what_another_process_changes_is_in_force(router: Running, upstream: FakeUpstream) -> None:
    made = await keep(router, {"model": "fake/a"})
    path = router.server.settings.server.database
    async with await Database.open(path, migrations=MIGRATIONS) as database:
        presets = Presets(database)
        await presets.reload()
        version = presets.find("brief")
        assert version is not None
        version.version.given = {"model": "fake/changed"}
        await presets.add("brief", version.version, Change(action="preset.version", target="brief"))

    async def changed() -> bool:
        await router.post("/v1/chat/completions", {"model": "@preset/brief", "messages": HELLO})
        return upstream.asked[-1].body["model"] == "changed"

    await until(changed)
    assert made["designated_version"]["version"] == 1


# --- used ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{"model": "@preset/brief"}, {"preset": "brief"}, {"model": None, "preset": "brief"}])
async def test_an_openai_client_gets_the_preset_under_its_request(
    router: Running, upstream: FakeUpstream, named: dict[str, Any]
) -> None:
    await keep(router, SAYS)
    own = {**TOOL, "function": {**TOOL["function"], "description": "mine"}}  # type: ignore[dict-item]

    answer = await router.post(
        "/v1/chat/completions", {**named, "messages": HELLO, "temperature": 0.9, "top_p": None, "tools": [own]}
    )

    assert answer.status == 200, await answer.text()
    (sent,) = (each.body for each in upstream.asked)
    assert sent["model"] == "preset"
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["stop"]) == (0.9, 0.5, 77, ["END"])
    assert sent["tools"] == [OTHER, own]
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *HELLO]
    assert "provider" not in sent
    assert "preset" not in sent


async def test_a_model_before_the_preset_is_the_model(router: Running, upstream: FakeUpstream) -> None:
    await keep(router, SAYS)

    answer = await router.post("/v1/chat/completions", {"model": "fake/other@preset/brief", "messages": HELLO})

    assert answer.status == 200
    assert (upstream.asked[0].body["model"], upstream.asked[0].body["max_tokens"]) == ("other", 77)


async def test_the_sdk_of_openai_uses_a_preset_for_responses(router: Running, upstream: FakeUpstream) -> None:
    await keep(router, SAYS)
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=router.key) as client:
        answer = await client.responses.create(model="@preset/brief", input="hello", instructions="In English.")

    assert answer.output_text == "hi"
    sent = upstream.asked[0].body
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("preset", 0.3, 77)
    assert sent["messages"][0]["content"] == "Be brief.\n\nIn English."
    assert [each["function"]["name"] for each in sent["tools"]] == ["look", "find"]


async def test_the_sdk_of_anthropic_uses_a_preset_that_was_made_of_a_chat(
    router: Running, upstream: FakeUpstream
) -> None:
    upstream.will(json_answer(MESSAGE))
    await keep(
        router, SAYS | {"model": "claude/claude-sonnet-4-5", "provider": {"only": ["claude"]}, "temperature": 1.5}
    )
    async with anthropic.AsyncAnthropic(base_url=router.url, api_key=router.key) as client:
        answer = await client.messages.create(
            model="@preset/brief", max_tokens=50, system="In English.", messages=[{"role": "user", "content": "hello"}]
        )

    assert answer.content[0].text == "hi"  # type: ignore[union-attr]
    sent = upstream.asked[0].body
    assert sent["model"] == "claude-sonnet-4-5"
    assert (sent["max_tokens"], sent["temperature"], sent["stop_sequences"]) == (50, 1.0, ["END"])
    assert sent["system"] == "Be brief.\n\nIn English."
    assert [each["name"] for each in sent["tools"]] == ["look", "find"]
    assert sent["tools"][0]["input_schema"] == {"type": "object"}
    assert sent.keys() <= {
        *("model", "max_tokens", "temperature", "top_p", "stop_sequences", "system", "tools", "messages")
    }


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 8000}}),
        ("claude-opus-4-8", {"output_config": {"effort": "high"}}),
    ],
)
async def test_thinking_comes_in_the_form_of_the_model(
    router: Running, upstream: FakeUpstream, model: str, wanted: dict[str, Any]
) -> None:
    upstream.will(json_answer(MESSAGE))
    await keep(router, {"model": f"claude/{model}", "reasoning": {"effort": "high"}, "max_tokens": 10_000})

    answer = await router.post("/v1/messages", {"model": "@preset/brief", "messages": HELLO})

    assert answer.status == 200, await answer.text()
    sent = upstream.asked[0].body
    assert {name: sent.get(name) for name in wanted} == wanted
    assert sent["thinking"]["type"] in ("enabled", "adaptive")


async def test_a_preset_of_anthropic_s_is_kept_in_its_own_words(router: Running, upstream: FakeUpstream) -> None:
    upstream.will(json_answer(MESSAGE), json_answer(completion()))
    search = {"type": "web_search_20250305", "name": "web_search"}
    body = {
        "model": "claude/claude-sonnet-4-5",
        "max_tokens": 3000,
        "system": [{"type": "text", "text": "Be brief."}],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": "look", "input_schema": {"type": "object"}}, search],
        "messages": HELLO,
    }
    made = await keep(router, body, form="messages")
    assert (await router.post("/v1/messages", {"model": "@preset/brief", "messages": HELLO})).status == 200
    ask = {"model": "fake/m@preset/brief", "messages": HELLO}
    assert (await router.post("/v1/chat/completions", ask)).status == 200

    own, other = (each.body for each in upstream.asked)
    assert (own["thinking"], own["tools"]) == (body["thinking"], body["tools"])
    assert own["system"] == "Be brief."
    assert other["max_tokens"] == 3000
    assert [each["function"]["name"] for each in other["tools"]] == ["look"]
    assert made["designated_version"]["config"]["reasoning"] == {"max_tokens": 2000}


async def test_a_preset_of_responses_serves_chat(router: Running, upstream: FakeUpstream) -> None:
    form = {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}
    await keep(
        router,
        {"model": "fake/m", "instructions": "Be brief.", "max_output_tokens": 9, "text": form},
        form="responses",
    )

    await router.post("/v1/chat/completions", {"preset": "brief", "messages": HELLO})

    sent = upstream.asked[0].body
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["max_tokens"] == 9
    assert sent["response_format"]["json_schema"] == {"name": "a", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize("named", ["@preset/brief", "acme/one@preset/brief"])
async def test_the_sdk_of_google_uses_a_preset(router: Running, upstream: FakeUpstream, named: str) -> None:
    await keep(router, SAYS)
    client = genai.Client(api_key=router.key, http_options=types.HttpOptions(base_url=router.url))
    answer = await client.aio.models.generate_content(
        model=named,
        contents="hello",
        config=types.GenerateContentConfig(temperature=0.9, system_instruction="In English."),
    )
    await client.aio.aclose()

    assert answer.text == "hi"
    sent = upstream.asked[0].body
    assert sent["model"] == ("preset" if named.startswith("@") else "one")
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["stop"]) == (0.9, 0.5, 77, ["END"])
    assert [each["function"]["name"] for each in sent["tools"]] == ["look", "find"]
    assert "Be brief." in str(sent["messages"][0]["content"])


async def test_google_s_clients_may_name_it_in_router_config(router: Running, upstream: FakeUpstream) -> None:
    await keep(router, SAYS)
    body = {"contents": [{"parts": [{"text": "hello"}]}], "routerConfig": {"preset": "brief", "sessionId": "s"}}

    answer = await router.post("/v1beta/models/acme/one:generateContent", body)

    assert answer.status == 200, await answer.text()
    assert upstream.asked[0].body["max_tokens"] == 77


async def test_counting_and_old_completions_know_presets_too(router: Running, upstream: FakeUpstream) -> None:
    await keep(router, SAYS)

    counted = await router.post("/v1/messages/count_tokens", {"model": "@preset/brief", "messages": HELLO})
    google = await router.post(
        "/v1beta/models/@preset/brief:countTokens",
        {"generateContentRequest": {"contents": [{"parts": [{"text": "hello"}]}]}},
    )
    completed = await router.post("/v1/completions", {"preset": "brief", "prompt": "hello"})

    assert [each.status for each in (counted, google, completed)] == [200, 200, 200]
    plain = await router.post("/v1/messages/count_tokens", {"model": "fake/preset", "messages": HELLO})
    assert (await counted.json())["input_tokens"] > (await plain.json())["input_tokens"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"preset": "none-such", "messages": HELLO}, "preset"),
        ("/v1/responses", {"model": "@preset/none-such", "input": "hello"}, "model"),
        ("/v1/embeddings", {"model": "@preset/none-such", "input": "hello"}, "model"),
    ],
)
async def test_an_unknown_preset_is_404(router: Running, path: str, body: dict[str, Any], param: str) -> None:
    answer = await router.post(path, body)

    assert answer.status == 404
    assert (await answer.json())["error"]["param"] == param


async def test_an_unknown_preset_is_404_in_the_shape_of_the_surface(router: Running) -> None:
    message = await router.post("/v1/messages", {"model": "@preset/none", "max_tokens": 9, "messages": HELLO})
    google = await router.post("/v1beta/models/@preset/none:generateContent", {"contents": [{"parts": []}]})

    assert (message.status, (await message.json())["error"]["type"]) == (404, "not_found_error")
    assert (google.status, (await google.json())["error"]["status"]) == (404, "NOT_FOUND")


async def test_two_names_that_differ_are_refused(router: Running) -> None:
    answer = await router.post("/v1/chat/completions", {"model": "@preset/a", "preset": "b", "messages": HELLO})

    assert (answer.status, (await answer.json())["error"]["param"]) == (400, "preset")


async def test_the_generation_says_which_preset_it_was(router: Running) -> None:
    made = await keep(router, SAYS)
    answer = await router.post("/v1/chat/completions", {"preset": "brief", "messages": HELLO})
    row = await (await router.get(f"/v1/generation?id={answer.headers['X-Generation-Id']}")).json()
    other = await router.post("/v1/chat/completions", {"model": "fake/m", "messages": HELLO})
    none = await (await router.get(f"/v1/generation?id={other.headers['X-Generation-Id']}")).json()

    assert row["data"]["preset_id"] == made["id"]
    assert none["data"]["preset_id"] is None


async def test_the_word_in_a_prompt_changes_nothing(router: Running, upstream: FakeUpstream) -> None:
    said = [{"role": "user", "content": "what is a preset? @preset/x"}]

    assert (await router.post("/v1/chat/completions", {"model": "fake/m", "messages": said})).status == 200
    assert upstream.asked[0].body["messages"] == said


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "echo/echo", "preset": "x", "messages": HELLO}),
        ("/v1/messages", {"model": "echo/echo", "preset": "x", "max_tokens": 9, "messages": HELLO}),
        ("/v1beta/models/echo/echo:generateContent", {"contents": [{"parts": []}], "routerConfig": {"preset": "x"}}),
        ("/v1/chat/completions", {"model": "echo/echo@preset/x", "messages": HELLO}),
        ("/v1/chat/completions", {"model": "@preset/x", "messages": HELLO}),
        ("/v1/chat/completions", {"model": "echo/echo", "models": ["echo/two@preset/x"], "messages": HELLO}),
        ("/v1/embeddings", {"model": "echo/echo@preset/x", "input": "hello"}),
        ("/v1beta/models/echo/echo@preset/x:generateContent", {"contents": [{"parts": [{"text": "hello"}]}]}),
    ],
)
async def test_without_the_plugin_a_preset_is_refused(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    settings = Settings(providers={"echo": {"plugin": "echo"}}, plugins=PluginSettings(disabled=["presets"]))
    async with running(settings, tmp_path) as router:
        answer = await router.post(path, body)

    assert answer.status == 400
    assert "the plugin presets must not be disabled" in await answer.text()


# --- merging ---------------------------------------------------------------------------------------------------------


def raws(**members: Any) -> dict[str, Any]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}


def read(members: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(members))


def test_members_that_say_the_same_are_not_mixed() -> None:
    preset = {"max_tokens": 5, "reasoning": {"effort": "low"}, "tool_choice": "auto", "models": ["a"]}
    own = raws(max_completion_tokens=9, reasoning_effort="high", function_call="none", fallbacks=[{"model": "b"}])

    assert read(chat(preset, own, None)).keys() == own.keys()


def test_functions_of_2023_stand_beside_the_preset_s_tools() -> None:
    merged = read(chat({"tools": [TOOL]}, raws(functions=[{"name": "find"}]), None))

    assert [each["function"]["name"] for each in merged["tools"]] == ["look", "find"]
    assert "functions" not in merged


def test_a_system_prompt_goes_before_pieces_too() -> None:
    one = read(messages({}, raws(system=[{"type": "text", "text": "b"}]), "a"))
    two = read(responses({}, raws(instructions=[{"type": "message", "role": "system", "content": "b"}]), "a"))
    three = read(gemini({}, raws(systemInstruction={"parts": {"text": "b"}}), "a"))

    assert [each["text"] for each in one["system"]] == ["a", "b"]
    assert [each["content"] for each in two["instructions"]] == ["a", "b"]
    assert [each["text"] for each in three["systemInstruction"]["parts"]] == ["a", "b"]


def test_google_s_functions_are_united_by_name() -> None:
    preset = {"tools": [{"functionDeclarations": [{"name": "a", "description": "preset's"}, {"name": "b"}]}]}
    own = raws(tools=[{"functionDeclarations": [{"name": "a"}]}, {"googleSearch": {}}])

    assert read(gemini(preset, own, None))["tools"] == [
        {"functionDeclarations": [{"name": "b"}]},
        {"functionDeclarations": [{"name": "a"}]},
        {"googleSearch": {}},
    ]
