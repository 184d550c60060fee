"""The messages of a request as Anthropic's system prompt and turns.

Anthropic wants turns of user and assistant in alternation, the user first; every tool call answered in the turn behind it, before
anything else; no empty text; ids of calls that are unique and of few characters. Chats of other origins keep none of that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from msgspec import Raw, Struct, field

from router import AnyPart, Audio, ChatRequest, Image, Message, Outgoing, Reasoning, Text, ToolCall, ToolResult

from .blocks import Block, block, thought
from .names import upstream_name

#: what a call is answered with that nobody answered
NO_RESULT = "[no result]"
#: what goes in front where the assistant would speak first
FIRST = "."
#: asks for what prefill asked for, where the model takes none
CONTINUE = "Continue your last message exactly where it ends. Do not repeat any of it."

_NO_IMAGES = "images of assistant messages are not sent to Anthropic"
_THOUGHTS = ("thinking", "redacted_thinking")
_FOREIGN_ID = re.compile(r"[^a-zA-Z0-9_-]")


class Turn(Struct, kw_only=True):
    """One turn. `results` are its answers to the calls of the turn before; `calls` the ids of its own, by the client's
    id: several where it used one twice."""

    role: str
    content: list[Block] = field(default_factory=list)
    results: dict[str, Block] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    extra: dict[str, Raw] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """As it is sent."""
        return {"role": self.role, "content": [*self.results.values(), *self.content], **self.extra}


class Conversation:
    """The messages of one request, taken in one after the other, then finished."""

    def __init__(self, request: ChatRequest, outgoing: Outgoing, *, thinks: bool) -> None:
        self.system: list[Block] = []
        self.turns: list[Turn] = []
        #: the tools that were called in it, by the names that the upstream sees
        self.called: dict[str, None] = {}
        self._outgoing = outgoing
        self._thinks = thinks
        self._own_extra = request.family == "anthropic"
        self._ids: set[str] = set()
        for message in request.messages:
            self._add(message)
        self._finish()

    @property
    def ends_with_assistant(self) -> bool:
        """True for a prefill: the model is to continue its own words."""
        return bool(self.turns) and self.turns[-1].role == "assistant"

    @property
    def replays_thinking(self) -> bool:
        """True where thinking of earlier turns is sent back."""
        return any(each["type"] in _THOUGHTS for turn in self.turns for each in turn.content)

    def ask_to_continue(self) -> None:
        """Put a user's turn behind the assistant's, for models that do not continue one."""
        self.turns.append(Turn(role="user", content=[{"type": "text", "text": CONTINUE}]))

    def in_a_tool_loop_without_thinking(self) -> bool:
        """True where the calls that are answered last came without the thinking in front of them, which budgets insist on."""
        if len(self.turns) < 2 or not self.turns[-1].results:
            return False
        return self.turns[-2].content[0]["type"] not in _THOUGHTS

    # --- taking in ---

    def _add(self, message: Message) -> None:
        match message.role:
            case "system" | "developer" if not self.turns:
                self.system += _texts(message.content, own=self._own_extra)
            case "system" if self._own_extra and not self.turns[-1].calls:
                # newer models take them where they stand; who speaks this API knows
                made = [each for part in message.content if (each := block(part, own=True)) is not None]
                self.turns.append(Turn(role="system", content=made, extra=message.extra))
            case "system" | "developer":
                for each in _texts(message.content, own=self._own_extra):
                    each["text"] = f"<system>{each['text']}</system>"
                    self._turn("user").content.append(each)
            case "assistant":
                self._assistant(message)
            case _:
                self._user(message)

    def _turn(self, role: str) -> Turn:
        """The last turn, if it is this role's, else a new one."""
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role=role))
        return self.turns[-1]

    def _user(self, message: Message) -> None:
        for part in message.content:
            if isinstance(part, ToolResult):
                self._result(part)
            elif (made := block(part, own=self._own_extra)) is not None:
                self._turn("user").content.append(made)
        if self._own_extra and message.extra and self.turns:
            self.turns[-1].extra.update(message.extra)

    def _result(self, part: ToolResult) -> None:
        content = [inner for each in part.content if (inner := block(each, own=self._own_extra)) is not None]
        before = self._before()
        ids = before.calls.get(part.tool_call_id, []) if before else []
        turn = self._turn("user")
        id = next((each for each in ids if each not in turn.results), None)
        if id is None:
            # Nobody asked for it (the call was cut off, or it is a second answer): it is said in words.
            turn.content.append({"type": "text", "text": f"[result of tool call {part.tool_call_id}]"})
            turn.content += content
            return
        made: Block = {"type": "tool_result", "tool_use_id": id}
        if content:
            made["content"] = content
        if part.is_error:
            made["is_error"] = True
        if self._own_extra:
            made |= part.extra
        if part.cache_control is not None:
            made["cache_control"] = part.cache_control
        turn.results[id] = made

    def _before(self) -> Turn | None:
        """The assistant's turn that the present turn of the user answers."""
        for turn in self.turns[-2:][::-1]:
            if turn.role == "assistant":
                return turn
        return None

    def _assistant(self, message: Message) -> None:
        made = [each for part in message.content for each in self._assistant_blocks(part)]
        if not made:
            return
        turn = self._turn("assistant")
        for each in made:
            if each["type"] == "tool_use":
                client_id, each["id"] = each["id"], self._id(each["id"])
                turn.calls.setdefault(client_id, []).append(each["id"])
        turn.content += made
        if self._own_extra:
            turn.extra.update(message.extra)

    def _assistant_blocks(self, part: AnyPart) -> Iterable[Block]:
        match part:
            case ToolCall():
                made: Block | None = self._call(part)
            case Reasoning():
                made = thought(part) if self._thinks else None
            case Audio(transcript=transcript):
                made = block(Text(text=transcript or ""))
            case Image():
                if _NO_IMAGES not in self._outgoing.warnings:
                    self._outgoing.warnings.append(_NO_IMAGES)
                made = None
            case _:
                made = block(part, own=self._own_extra)
        return [] if made is None else [made]

    def _call(self, part: ToolCall) -> Block:
        name = upstream_name(part.name)
        self.called[name] = None
        made: Block = {"type": "tool_use", "id": part.id, "name": name, "input": part.input}
        if self._own_extra:
            made |= part.extra
        if part.cache_control is not None:
            made["cache_control"] = part.cache_control
        return made

    def _id(self, id: str) -> str:
        """An id that Anthropic takes, and that no other call of the conversation has."""
        own = id
        if not id or _FOREIGN_ID.search(id):
            # The digest keeps two ids apart that differ only in what is replaced.
            own = f"{_FOREIGN_ID.sub('_', id)}_{hashlib.sha256(id.encode()).hexdigest()[:8]}"
        unique, number = own, 1
        while unique in self._ids:
            number += 1
            unique = f"{own}_{number}"
        self._ids.add(unique)
        return unique

    # --- finishing ---

    def _finish(self) -> None:
        self._pair_server_tools()
        self._answer_all()
        for turn in self.turns:
            if turn.role == "assistant":
                _no_thought_at_the_end(turn)
        self._trim()
        self.turns = _joined(self.turns)
        if not self.turns or self.turns[0].role != "user":
            self.turns.insert(0, Turn(role="user", content=[{"type": "text", "text": FIRST}]))

    def _answer_all(self) -> None:
        """Each call gets its answer, in the order of the calls."""
        for index, turn in enumerate(list(self.turns)):
            called = [each["id"] for each in turn.content if each["type"] == "tool_use"]
            if not called:
                continue
            if index + 1 == len(self.turns):
                self.turns.append(Turn(role="user"))
            answers = self.turns[index + 1]
            answers.results = {id: answers.results.get(id) or _unanswered(id) for id in called}

    def _pair_server_tools(self) -> None:
        """Take out what is left of a tool that Anthropic ran, where the call or its result is missing: halves are refused."""
        last = max((index for index, turn in enumerate(self.turns) if turn.role == "assistant"), default=-1)
        results = {each.get("tool_use_id") for turn in self.turns for each in turn.content}
        seen: set[str] = set()
        for index, turn in enumerate(self.turns):
            if turn.role != "assistant":
                continue
            kept = []
            for each in turn.content:
                if each["type"].endswith("_tool_use"):
                    seen.add(each.get("id", ""))
                    whole = each.get("id") in results or index == last  # the last one may still be running
                else:
                    whole = "tool_use_id" not in each or each["tool_use_id"] in seen
                if whole:
                    kept.append(each)
            turn.content = kept

    def _trim(self) -> None:
        """No white space at the end of what the assistant is to continue."""
        if not self.ends_with_assistant:
            return
        content = self.turns[-1].content
        if content and content[-1]["type"] == "text":
            content[-1]["text"] = content[-1]["text"].rstrip()


def _texts(content: list[AnyPart], *, own: bool) -> list[Block]:
    """The text of a system message. Anthropic's takes nothing else."""
    return [made for part in content if isinstance(part, Text) and (made := block(part, own=own)) is not None]


def _unanswered(id: str) -> Block:
    return {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": NO_RESULT}]}


def _no_thought_at_the_end(turn: Turn) -> None:
    """Anthropic refuses a turn that ends in thinking: what came behind it was empty."""
    while turn.content and turn.content[-1]["type"] in _THOUGHTS:
        turn.content.pop()


def _joined(turns: list[Turn]) -> list[Turn]:
    """The turns without empty ones, and without two of one role in a row where one went."""
    joined: list[Turn] = []
    for turn in turns:
        if not turn.content and not turn.results:
            continue
        if joined and joined[-1].role == turn.role:
            joined[-1].content += turn.content
        else:
            joined.append(turn)
    return joined
