"""What each recording says, stated independently of the router's code: straight from the provider's recorded answer.

`expected(recording)` gives a `Reply` or a `Failure` in the words of OpenAI's chat API. The rules are the contract's:
finish reasons, token arithmetic, tools that the provider ran itself, and which fault is whose.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .recordings import Recording


@dataclass
class Call:
    """A tool call for the client to run. `id` is None where the provider gave none; `arguments` are parsed."""

    id: str | None
    name: str
    arguments: Any


@dataclass
class Choice:
    """One answer. `images` is a number of images, `cited` the addresses that are named as sources."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    images: int = 0
    cited: set[str] = field(default_factory=set)
    finish: str | None = None


@dataclass
class Usage:
    """Token counts as OpenAI counts: `prompt` includes cached and written ones, `completion` includes reasoning."""

    prompt: int
    completion: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass
class Reply:
    """A success. `usage` is None where the provider did not count: then the router estimates."""

    choices: dict[int, Choice]
    usage: Usage | None


@dataclass
class Failure:
    """An error: HTTP status, kind (`metadata.error_type`), and what was streamed before it (None: nothing)."""

    status: int
    kind: str
    retry_after: str | None = None
    streamed: dict[int, Choice] | None = None


def expected(recording: Recording) -> Reply | Failure:
    """What a client must get when the upstream answers with this recording."""
    if recording.status != 200:
        return failure(recording.status, recording.frames[0], recording.headers)
    return {
        "openai-chat": openai_chat,
        "anthropic-messages": anthropic_messages,
        "gemini-generate": gemini_generate,
    }[recording.dialect](recording)


# --- OpenAI chat and its many deviations -----------------------------------------------------------------------------


def openai_chat(recording: Recording) -> Reply | Failure:
    """Chunks and whole answers alike: a message is a delta that came at once."""
    choices: dict[int, Choice] = {}
    calls: dict[tuple[int, int], Call] = {}
    counted: dict[str, Any] = {}
    sources: set[str] = set()
    for frame in recording.frames:
        sources |= openai_sources(frame)
        if frame.get("error"):
            streamed = {index: closed(choice) for index, choice in choices.items()}
            status = frame["error"].get("status_code") or frame["error"].get("status") or frame["error"].get("code")
            return failure(status, frame, {}, streamed if has_content(streamed) else None)
        merge(counted, (frame.get("x_groq") or {}).get("usage"))
        merge(counted, frame.get("usage"))
        for each in frame.get("choices") or []:
            choice = choices.setdefault(each["index"], Choice())
            choice.finish = each.get("finish_reason") or choice.finish
            delta = each.get("message") or each.get("delta") or {}
            content = delta.get("content")
            choice.text += content if isinstance(content, str) else json_text(content) if content else ""
            choice.reasoning += openai_reasoning(delta)
            choice.refusal += delta.get("refusal") or ""
            choice.cited |= {note["url_citation"]["url"] for note in delta.get("annotations") or []} | searched(delta)
            for position, part in enumerate(delta.get("tool_calls") or []):
                openai_call(calls, choice, (each["index"], part.get("index", position)), part)
            if (legacy := delta.get("function_call")) and legacy.get("name"):
                choice.calls.append(Call(None, legacy["name"], legacy["arguments"]))
    if sources and choices:
        choices[0].cited |= sources
    return Reply({index: closed(choice) for index, choice in choices.items()}, openai_usage(counted))


def openai_sources(frame: dict[str, Any]) -> set[str]:
    """Perplexity names its sources beside the answer, with titles or without."""
    found = [each["url"] for each in frame.get("search_results") or []]
    return set(found or frame.get("citations") or [])


def searched(message: dict[str, Any]) -> set[str]:
    """Groq says what the searches found that it ran itself."""
    found = [tool.get("search_results") or {} for tool in message.get("executed_tools") or []]
    return {each["url"] for results in found for each in results.get("results") or []}


def openai_reasoning(delta: dict[str, Any]) -> str:
    """Plain reasoning under either name; where there is none, the readable pieces of `reasoning_details`."""
    plain = delta.get("reasoning") or delta.get("reasoning_content")
    if plain:
        return str(plain)
    return "".join(piece.get("text") or piece.get("summary") or "" for piece in delta.get("reasoning_details") or [])


def openai_call(calls: dict[tuple[int, int], Call], choice: Choice, key: tuple[int, int], part: dict[str, Any]) -> None:
    """Take a whole call or a fragment of one. A custom tool's call has its free text in `input`."""
    custom, function = part.get("custom") or {}, part.get("function") or {}
    if key not in calls:
        calls[key] = Call(part.get("id"), custom.get("name") or function["name"], "")
        choice.calls.append(calls[key])
    calls[key].arguments += custom.get("input") or function.get("arguments") or ""


def openai_usage(counted: dict[str, Any]) -> Usage | None:
    """Reasoning is left out of the completion by xAI, whose total says so, and by Vercel, where it exceeds it."""
    if not counted:
        return None
    prompt, completion = counted["prompt_tokens"], counted["completion_tokens"]
    ins, outs = counted.get("prompt_tokens_details") or {}, counted.get("completion_tokens_details") or {}
    reasoning = outs.get("reasoning_tokens") or counted.get("reasoning_tokens") or 0
    if reasoning > completion or counted["total_tokens"] == prompt + completion + reasoning:
        completion += reasoning
    cached = ins.get("cached_tokens") or counted.get("prompt_cache_hit_tokens") or 0
    # Grok on Azure states more cached tokens than prompt tokens (2026-08); a part cannot be larger than the whole
    return Usage(prompt, completion, min(cached, prompt), ins.get("cache_write_tokens") or 0, reasoning)


# --- Anthropic messages ----------------------------------------------------------------------------------------------

ANTHROPIC_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def anthropic_messages(recording: Recording) -> Reply | Failure:
    """Blocks of text, thinking and tool_use; all other blocks are tools that Anthropic ran, or its book-keeping."""
    choice, counted = Choice(), dict[str, Any]()
    reason = None
    if not recording.streamed:
        message = recording.body
        for block in message["content"]:
            anthropic_block(choice, block)
        merge(counted, message["usage"])
        reason = message["stop_reason"]
    open_call = None
    for frame in recording.frames if recording.streamed else []:
        delta = frame.get("delta") or {}
        match frame["type"]:
            case "message_start":
                merge(counted, frame["message"]["usage"])
            case "content_block_start":
                before = len(choice.calls)
                anthropic_block(choice, frame["content_block"])
                open_call = choice.calls[-1] if len(choice.calls) > before else None
            case "content_block_delta":
                choice.text += delta.get("text") or ""
                choice.reasoning += delta.get("thinking") or ""
                choice.cited |= anthropic_sources([delta["citation"]] if "citation" in delta else [])
                if open_call and delta.get("partial_json"):
                    whole = "" if isinstance(open_call.arguments, dict) else open_call.arguments
                    open_call.arguments = whole + delta["partial_json"]
            case "message_delta":
                merge(counted, frame["usage"])
                reason = delta.get("stop_reason") or reason
            case "message_stop":
                break
    choice.finish = ANTHROPIC_FINISH.get(reason or "", "stop")
    return Reply({0: closed(choice)}, anthropic_usage(counted))


def anthropic_block(choice: Choice, block: dict[str, Any]) -> None:
    match block["type"]:
        case "text":
            choice.text += block["text"]
            choice.cited |= anthropic_sources(block.get("citations") or [])
        case "thinking":
            choice.reasoning += block["thinking"]
        case "tool_use":
            choice.calls.append(Call(block["id"], block["name"], block["input"]))


def anthropic_sources(citations: list[dict[str, Any]]) -> set[str]:
    """Pages and search results have an address; documents of the request have none."""
    return {each.get("url") or each["source"] for each in citations if each.get("url") or each.get("source")}


def anthropic_usage(counted: dict[str, Any]) -> Usage:
    """`input_tokens` leaves out what was read from or written to the cache."""
    read, written = counted.get("cache_read_input_tokens") or 0, counted.get("cache_creation_input_tokens") or 0
    thinking = (counted.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return Usage(counted["input_tokens"] + read + written, counted["output_tokens"], read, written, thinking)


# --- Gemini generateContent ------------------------------------------------------------------------------------------

GEMINI_FILTERED = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"}
GEMINI_FAILED = {"OTHER", "LANGUAGE", "MALFORMED_FUNCTION_CALL"}
#: finish reasons as numbers, for the recording whose client asked for `enum-encoding=int`
GEMINI_NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}


def gemini_generate(recording: Recording) -> Reply | Failure:
    """Parts of text, thoughts, calls and images; code execution, file search and the like are Google's own business."""
    choices: dict[int, Choice] = {0: Choice()}
    counted: dict[str, Any] = {}
    grounded: dict[int, set[str]] = {}
    for frame in recording.frames:
        merge(counted, frame.get("usageMetadata"))
        if (frame.get("promptFeedback") or {}).get("blockReason"):
            choices[0].finish = "content_filter"
        for candidate in frame.get("candidates") or []:
            index = candidate.get("index", 0)
            choice = choices.setdefault(index, Choice())
            quoted = candidate.get("citationMetadata") or {}
            sources = quoted.get("citationSources") or quoted.get("citations") or []
            choice.cited |= {each["uri"] for each in sources if each.get("uri")}
            if pages := gemini_pages(candidate.get("groundingMetadata") or {}):
                grounded[index] = pages
            for part in (candidate.get("content") or {}).get("parts") or []:
                gemini_part(choice, part)
            if reason := candidate.get("finishReason"):
                choice.finish = gemini_finish(GEMINI_NUMBERS.get(reason, reason))
    for index, pages in grounded.items():
        choices[index].cited |= pages
    return Reply({index: closed(choice) for index, choice in choices.items()}, gemini_usage(counted))


def gemini_pages(grounding: dict[str, Any]) -> set[str]:
    """What an answer was grounded on; each frame repeats it, and the last that is not empty counts."""
    chunks = grounding.get("groundingChunks") or []
    found = [each.get("web") or each.get("maps") or each.get("retrievedContext") or {} for each in chunks]
    return {each["uri"] for each in found if each.get("uri")}


def gemini_part(choice: Choice, part: dict[str, Any]) -> None:
    if part.get("thought"):
        choice.reasoning += part.get("text") or ""
    elif "text" in part:
        choice.text += part["text"]
    elif "inlineData" in part:
        choice.images += 1
    elif (call := part.get("functionCall")) is not None:
        if "name" in call:
            choice.calls.append(Call(call.get("id"), call["name"], call.get("args") or {}))
        for piece in call.get("partialArgs") or []:
            # streamed arguments: every recorded one is a string at the top level ("$.id")
            name, arguments = piece["jsonPath"].removeprefix("$."), choice.calls[-1].arguments
            arguments[name] = arguments.get(name, "") + piece["stringValue"]


def gemini_finish(reason: str) -> str:
    if reason in GEMINI_FILTERED:
        return "content_filter"
    return {"MAX_TOKENS": "length"}.get(reason) or ("error" if reason in GEMINI_FAILED else "stop")


def gemini_usage(counted: dict[str, Any]) -> Usage | None:
    """Google counts what its tools put into the prompt apart, and thoughts apart from the answer."""
    if not counted.get("promptTokenCount"):
        return None
    thoughts = counted.get("thoughtsTokenCount") or 0
    return Usage(
        prompt=counted["promptTokenCount"] + (counted.get("toolUsePromptTokenCount") or 0),
        completion=(counted.get("candidatesTokenCount") or 0) + thoughts,
        cached=counted.get("cachedContentTokenCount") or 0,
        reasoning=thoughts,
    )


# --- what all have in common -----------------------------------------------------------------------------------------


def merge(counted: dict[str, Any], more: dict[str, Any] | None) -> None:
    """Field by field; a later null or zero erases nothing."""
    counted.update({name: value for name, value in (more or {}).items() if value or name not in counted})


def closed(choice: Choice) -> Choice:
    """The choice as it stands at its end: arguments parsed, and any tool call makes the reason `tool_calls`."""
    for call in choice.calls:
        call.arguments = parsed(call.arguments)
    choice.finish = "tool_calls" if choice.calls else (choice.finish or "stop")
    return choice


def parsed(arguments: Any) -> Any:
    """Arguments as a value; text that is no JSON (a custom tool's, or cut off by the token limit) stays text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def json_text(value: Any) -> str:
    """JSON as it is written where spaces do not matter."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def has_content(choices: dict[int, Choice]) -> bool:
    return any(each.text or each.reasoning or each.calls for each in choices.values())


def failure(
    status: int, body: dict[str, Any], headers: dict[str, str], streamed: dict[int, Choice] | None = None
) -> Failure:
    """Whose fault it is: a refused credential is the router's (502), the rest is passed on under our names."""
    said = json.dumps(body).lower()
    if status in (401, 403) or "api_key_invalid" in said:
        return Failure(502, "provider_unavailable")
    if status == 404:
        return Failure(404, "not_found")
    if status == 429:
        return Failure(429, "rate_limit_exceeded", retry_after(body, headers))
    if status == 400:
        return Failure(400, bad_request(said), streamed=streamed)
    raise AssertionError(f"no rule for status {status}")


def bad_request(said: str) -> str:
    if "context length" in said or "too_many_prompt_tokens" in said:
        return "context_length_exceeded"
    if "content_filter" in said:
        return "content_policy_violation"
    if "unsupported image" in said:
        return "unsupported_image_format"
    if "cannot fetch content from the provided url" in said:
        return "image_download_failed"
    return "invalid_request"


def retry_after(body: dict[str, Any], headers: dict[str, str]) -> str | None:
    """Seconds: the header's, or those of Google's RetryInfo."""
    details = body["error"].get("details")
    delays = [each["retryDelay"] for each in details if "retryDelay" in each] if isinstance(details, list) else []
    return headers.get("retry-after") or (delays[0].removesuffix("s") if delays else None)
