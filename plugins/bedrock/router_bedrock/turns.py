"""The messages of a request as Converse's system prompt and turns.

Bedrock wants user and assistant in alternation, the user first; every call answered in the turn behind it; no empty text; documents
with names of their own and some text beside them. Chats of other origins keep none of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from router import AnyPart, ChatRequest, Image, Message, Outgoing, Reasoning, Text, ToolCall, ToolResult

from .blocks import CACHE_POINT, Block, block, thought
from .names import call_id, tool_name
from .traits import Traits

#: what a call is answered with that nobody answered
NO_RESULT = "[no result]"
#: what goes in front where the assistant would speak first
FIRST = "."
#: what stands beside documents that come without a word
SEE_DOCUMENT = "See the attached document."
#: asks for what prefill asked for, where the model takes none
CONTINUE = "Continue your last message exactly where it ends. Do not repeat any of it."
MAX_CACHE_POINTS = 4

_NO_IMAGES = "images of assistant messages are not sent to Bedrock"
_decode_any = msgspec.json.Decoder().decode


class Turn(Struct, kw_only=True):
    """One turn. `results` are its answers to the calls of the turn before, `media` what they may not hold; `calls` the ids of its
    own, by the client's id: several where it used one twice."""

    role: str
    content: list[Block] = field(default_factory=list)
    results: dict[str, list[Block]] = field(default_factory=dict)
    media: list[Block] = field(default_factory=list)
    calls: dict[str, list[str]] = field(default_factory=dict)

    def wire(self) -> Block:
        """As it is sent."""
        answers = [each for blocks in self.results.values() for each in blocks]
        return {"role": self.role, "content": [*answers, *self.media, *self.content]}


class Conversation:
    """The messages of one request, taken in one after the other, then finished. `called` holds the tools that were called in it."""

    def __init__(self, request: ChatRequest, can: Traits, outgoing: Outgoing) -> None:
        self.system: list[Block] = []
        self.turns: list[Turn] = []
        self.called: dict[str, None] = {}
        self._can = can
        self._outgoing = outgoing
        self._server_tools = any(tool.server is not None for tool in request.tools)
        self._ids: set[str] = set()
        for message in request.messages:
            self._add(message)
        self._finish()

    @property
    def ends_with_assistant(self) -> bool:
        """True for a prefill: the model is to continue its own words."""
        return bool(self.turns) and self.turns[-1].role == "assistant"

    def ask_to_continue(self) -> None:
        """Put a user's turn behind the assistant's, for models that do not continue one."""
        self.turns.append(Turn(role="user", content=[{"text": CONTINUE}]))

    def in_a_tool_loop_without_thinking(self) -> bool:
        """True where the calls that are answered last came without the thinking in front of them, which budgets insist on."""
        if len(self.turns) < 2 or not self.turns[-1].results:
            return False
        return "reasoningContent" not in self.turns[-2].content[0]

    # --- taking in ---

    def _add(self, message: Message) -> None:
        match message.role:
            case "system" | "developer" if not self.turns:
                self.system += self._blocks([part for part in message.content if isinstance(part, Text)])
            case "system" | "developer":
                for each in self._blocks([part for part in message.content if isinstance(part, Text)]):
                    if "text" in each:
                        each["text"] = f"<system>{each['text']}</system>"
                    self._turn("user").content.append(each)
            case "assistant":
                self._assistant(message)
            case _:
                for part in message.content:
                    if isinstance(part, ToolResult):
                        self._result(part)
                    elif made := self._blocks([part]):
                        self._turn("user").content += made

    def _blocks(self, parts: Sequence[AnyPart]) -> list[Block]:
        """The blocks of parts, each with its cache mark behind it."""
        made: list[Block] = []
        for part in parts:
            if (each := block(part)) is not None:
                made += [each, *self._mark(part)]
        return made

    def _mark(self, part: AnyPart) -> list[Block]:
        if part.cache_control is None:
            return []
        if not self._can.caches:
            if "cache_control" not in self._outgoing.dropped:
                self._outgoing.dropped.append("cache_control")
            return []
        return [cache_point(part.cache_control)]

    def _turn(self, role: str) -> Turn:
        """The last turn, if it is this role's, else a new one."""
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role=role))
        return self.turns[-1]

    def _result(self, part: ToolResult) -> None:
        inside, outside = self._result_content(part)
        before = next((turn for turn in self.turns[-2:][::-1] if turn.role == "assistant"), None)
        ids = before.calls.get(part.tool_call_id, []) if before else []
        turn = self._turn("user")
        id = next((each for each in ids if each not in turn.results), None)
        if id is None:
            # Nobody asked for it (the call was cut off, or it is a second answer): it is said in words.
            turn.content += [{"text": f"[result of tool call {part.tool_call_id}]"}, *inside, *outside]
            return
        made: Block = {"toolUseId": id, "content": inside or [{"text": NO_RESULT}]}
        if part.is_error:
            made["status"] = "error"
        turn.results[id] = [{"toolResult": made}, *self._mark(part)]
        turn.media += outside

    def _result_content(self, part: ToolResult) -> tuple[list[Block], list[Block]]:
        """What goes into a result, and what goes behind it, since not every model looks into results for more than text."""
        made = [each for inner in part.content if (each := block(inner)) is not None]
        if self._can.media_results:
            return made, []
        return [each for each in made if "text" in each], [each for each in made if "text" not in each]

    def _assistant(self, message: Message) -> None:
        made: list[Block] = []
        calls: dict[str, list[str]] = {}
        for part in message.content:
            match part:
                case ToolCall():
                    id = self._id(part.id)
                    calls.setdefault(part.id, []).append(id)
                    name = tool_name(part.name)
                    self.called[name] = None
                    made += [
                        {"toolUse": {"toolUseId": id, "name": name, "input": part.input}},
                        *self._mark(part),
                    ]
                case Reasoning():
                    claude = self._can.thinking == "claude"
                    if (each := thought(part, claude=claude, server_tools=self._server_tools)) is not None:
                        made.append(each)
                case Image():
                    if _NO_IMAGES not in self._outgoing.warnings:
                        self._outgoing.warnings.append(_NO_IMAGES)
                case _ if transcript := getattr(part, "transcript", None):
                    made.append({"text": transcript})
                case _ if part.__struct_config__.tag != "audio":
                    made += self._blocks([part])
        if made:
            turn = self._turn("assistant")
            turn.content += made
            for client_id, ids in calls.items():
                turn.calls.setdefault(client_id, []).extend(ids)

    def _id(self, id: str) -> str:
        """An id that Bedrock takes, and that no other call of the conversation has."""
        own = unique = call_id(id)
        number = 1
        while unique in self._ids:
            number += 1
            unique = f"{own[:58]}_{number}"
        self._ids.add(unique)
        return unique

    # --- finishing ---

    def _finish(self) -> None:
        for index, turn in enumerate(list(self.turns)):
            called = [id for ids in turn.calls.values() for id in ids]
            if called:
                self._answer(index, called)
        for turn in self.turns:
            _no_thought_at_the_end(turn)
        if self.ends_with_assistant:
            _trim(self.turns[-1])
        self.turns = _joined(self.turns)
        if not self.turns or self.turns[0].role != "user":
            self.turns.insert(0, Turn(role="user", content=[{"text": FIRST}]))
        self._documents()

    def _answer(self, index: int, called: list[str]) -> None:
        """Each call gets its answer, in the order of the calls."""
        if index + 1 == len(self.turns):
            self.turns.append(Turn(role="user"))
        answers = self.turns[index + 1]
        missing = [id for id in called if id not in answers.results]
        for id in missing:
            answers.results[id] = [{"toolResult": {"toolUseId": id, "content": [{"text": NO_RESULT}]}}]
        answers.results = {id: answers.results[id] for id in called}

    def _documents(self) -> None:
        """Documents have names of their own, and words beside them."""
        taken: set[str] = set()
        for turn in self.turns:
            own = [*turn.media, *turn.content]
            results = [
                each["toolResult"] for blocks in turn.results.values() for each in blocks if "toolResult" in each
            ]
            inside = [each for result in results for each in result["content"]]
            for each in own + inside:
                if "document" in each:
                    _rename(each["document"], taken)
            if any("document" in each for each in own) and not any("text" in each for each in own):
                turn.content.append({"text": SEE_DOCUMENT})


def cache_point(mark: Raw) -> Block:
    """The mark behind what is to be kept; those of Anthropic that hold for an hour say so."""
    asked = _decode_any(mark)
    if isinstance(asked, dict) and asked.get("ttl") == "1h":
        return {"cachePoint": {"type": "default", "ttl": "1h"}}
    return dict(CACHE_POINT)


def limit_cache_points(tools: list[Any], talk: Conversation, outgoing: Outgoing) -> None:
    """Four marks are taken: the last ones cover the most."""
    lists = [tools, talk.system]
    for turn in talk.turns:
        lists += [*turn.results.values(), turn.media, turn.content]
    marks = [(blocks, each) for blocks in lists for each in blocks if isinstance(each, dict) and "cachePoint" in each]
    if len(marks) > MAX_CACHE_POINTS:
        outgoing.warnings.append(f"of {len(marks)} cache marks the last {MAX_CACHE_POINTS} are kept")
        for blocks, mark in marks[:-MAX_CACHE_POINTS]:
            blocks[:] = [each for each in blocks if each is not mark]


def _rename(document: Block, taken: set[str]) -> None:
    name, number = document["name"], 1
    while document["name"] in taken:
        number += 1
        document["name"] = f"{name} {number}"
    taken.add(document["name"])


def _no_thought_at_the_end(turn: Turn) -> None:
    """A turn that ends in thinking is refused: what came behind it was empty."""
    while turn.role == "assistant" and turn.content and "reasoningContent" in turn.content[-1]:
        turn.content.pop()


def _trim(turn: Turn) -> None:
    """No white space at the end of what the assistant is to continue."""
    if turn.content and "text" in turn.content[-1]:
        turn.content[-1]["text"] = turn.content[-1]["text"].rstrip()


def _joined(turns: list[Turn]) -> list[Turn]:
    """The turns without empty ones, and without two of one role in a row where one went."""
    joined: list[Turn] = []
    for turn in turns:
        if not turn.content and not turn.results and not turn.media:
            continue
        if joined and joined[-1].role == turn.role:
            joined[-1].content += turn.content
            joined[-1].media += turn.media
            joined[-1].results |= turn.results
        else:
            joined.append(turn)
    return joined
