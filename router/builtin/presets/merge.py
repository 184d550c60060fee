"""A preset laid under a request: what the request says itself wins, tools are united by name, the system prompt goes first.

A null is an absent member, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ...dialects.gemini_generate.fields import snake

Members = dict[str, Any]

#: members that say the same: where the request has one of them, the preset's are not taken
ALIKE = (
    frozenset({"max_tokens", "max_completion_tokens"}),
    frozenset({"reasoning", "reasoning_effort", "thinking"}),
    frozenset({"tool_choice", "function_call"}),
    frozenset({"models", "fallbacks"}),
    frozenset({"output_config", "output_format"}),
)
NULL = b"null"

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
_decode_raws = msgspec.json.Decoder(list[Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


def is_given(own: Mapping[str, Any], name: str) -> bool:
    """Does the request have this member, and not as null?"""
    if name not in own:
        return False
    value = own[name]
    # Only what is that short is copied: messages have megabytes.
    return not isinstance(value, Raw) or memoryview(value).nbytes != len(NULL) or bytes(value) != NULL


def shallow(preset: Mapping[str, Any], own: Mapping[str, Any]) -> Members:
    """The members of both; those of the request win."""
    said = {name for name in own if is_given(own, name)}
    taken = said.union(*(group for group in ALIKE if group & said))
    return {name: value for name, value in preset.items() if name not in taken} | {
        name: value for name, value in own.items() if name in said or name not in preset
    }


# --- the APIs --------------------------------------------------------------------------------------------------------


def chat(preset: Members, own: Members, prompt: str | None) -> Members:
    """OpenAI's chat."""
    if is_given(own, "functions") and "tools" in preset and (old := _list(own["functions"])) is not None:
        # the form of 2023, which cannot stand beside the new one
        own = {name: value for name, value in own.items() if name != "functions"}
        own["tools"] = Raw(_encode([{"type": "function", "function": each} for each in old]))
    merged = shallow(preset, own) | _tools(preset, own)
    if prompt and (messages := _list(own.get("messages"))):
        merged["messages"] = [{"role": "system", "content": prompt}, *messages]
    return merged


def responses(preset: Members, own: Members, prompt: str | None) -> Members:
    """OpenAI's Responses."""
    merged = shallow(preset, own) | _tools(preset, own)
    item = {"type": "message", "role": "system", "content": prompt}
    return merged | _before("instructions", own, prompt, item)


def messages(preset: Members, own: Members, prompt: str | None) -> Members:
    """Anthropic's Messages."""
    merged = shallow(preset, own) | _tools(preset, own)
    return merged | _before("system", own, prompt, {"type": "text", "text": prompt})


def gemini(preset: Members, own: Members, prompt: str | None) -> Members:
    """Google's generateContent: the members of `generationConfig` and `routerConfig` are what others have at the top."""
    merged = shallow(preset, own)
    for name in ("generationConfig", "routerConfig"):
        if name in preset and (inside := _object(own.get(name))) is not None:
            if name == "routerConfig":
                inside = {snake(each): raw for each, raw in inside.items()}
            merged[name] = shallow(preset[name], inside)
    if "tools" in preset and is_given(own, "tools"):
        merged["tools"] = _gemini_tools(preset["tools"], _decode_any(own["tools"]))
    if prompt:
        merged["systemInstruction"] = _gemini_system(own.get("systemInstruction"), prompt)
    return merged


# --- parts -----------------------------------------------------------------------------------------------------------


def _before(member: str, own: Members, prompt: str | None, piece: Members) -> Members:
    """The system prompt before the request's own, which is text or a list of pieces."""
    if not prompt:
        return {}
    if not is_given(own, member):
        return {member: prompt}
    said = own[member]
    if (pieces := _list(said)) is not None:
        return {member: [piece, *pieces]}
    text = _decode_any(said)
    return {member: f"{prompt}\n\n{text}"} if isinstance(text, str) else {}


def _tools(preset: Members, own: Members) -> Members:
    """The preset's tools that the request does not have by the same name, then the request's."""
    if "tools" not in preset or not is_given(own, "tools") or (tools := _list(own["tools"])) is None:
        return {}
    names = {name_of(_decode_any(each)) for each in tools}
    return {"tools": [*(each for each in preset["tools"] if name_of(each) not in names), *tools]}


def name_of(tool: Any) -> str | None:
    """What makes a tool the same as another, in any of OpenAI's and Anthropic's forms."""
    if not isinstance(tool, dict):
        return None
    for inside in (tool.get("function"), tool.get("custom"), tool):
        if isinstance(inside, dict) and isinstance(name := inside.get("name"), str):
            return name
    return str(tool.get("server_label") or tool.get("type"))


def _gemini_tools(preset: list[Any], own: Any) -> Any:
    tools = own if isinstance(own, list) else [own]
    names = {name_of(each) for tool in tools for each in _declared(tool)}
    kept = [each for tool in preset for each in _declared(tool) if name_of(each) not in names]
    return [{"functionDeclarations": kept}, *tools] if kept else own


def _declared(tool: Any) -> list[Any]:
    found = tool.get("functionDeclarations") if isinstance(tool, dict) else None
    return found if isinstance(found, list) else [] if found is None else [found]


def _gemini_system(own: Raw | None, prompt: str) -> Any:
    """A content with the prompt as its first part. A string, which is not Google's form, is left to the checks."""
    piece = {"text": prompt}
    if own is None or bytes(own) == NULL:
        return {"parts": [piece]}
    said = _decode_any(own)
    if not isinstance(said, dict):
        return own
    parts = said.get("parts", [])
    return said | {"parts": [piece, *(parts if isinstance(parts, list) else [parts])]}


def _list(raw: Any) -> list[Raw] | None:
    """The pieces of a list, as they came; None for anything else, which is for the checks to refuse."""
    return _decode_raws(raw) if isinstance(raw, Raw) and bytes(memoryview(raw)[:1]) == b"[" else None


def _object(raw: Any) -> dict[str, Raw] | None:
    return _decode_members(raw) if isinstance(raw, Raw) and bytes(memoryview(raw)[:1]) == b"{" else None


Merge = Callable[[Members, Members, str | None], Members]
MERGES: dict[str, Merge] = {
    "openai.chat": chat,
    "openai.responses": responses,
    "anthropic.messages": messages,
    "gemini.generate": gemini,
    "gemini.embeddings": gemini,
}


def plain(preset: Members, own: Members, prompt: str | None) -> Members:
    """All others, which know neither tools nor system prompts."""
    return shallow(preset, own)
