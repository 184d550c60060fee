"""Content filters: what is looked for in requests and answers, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ...errors import Forbidden
from ...store.guardrails import BuiltinFilter, ContentFilter, Guardrail
from .builtins import BUILTINS
from .deadline import Deadline
from .patterns import Pattern, compiled

#: what all filters of one request may take, in seconds
BUDGET_S = 1.0
REDACTED = "[REDACTED]"
#: the stronger action comes first
STRENGTH = ("block", "redact", "flag")
#: what is looked through. An answer has been paid for
REQUEST, ANSWER = "request", "answer"
KEPT, ADDED = "conversation that the request goes on with", "request with what plugins have added to it"


class Filter(Struct, kw_only=True, frozen=True):
    """One thing that is looked for. `name` is its pattern, or the slug of what the router knows by itself. `users`: only in what users
    write; `answers`: in answers too."""

    name: str
    action: str
    label: str
    pattern: Pattern
    check: Callable[[str], bool] | None = None
    answers: bool = True
    users: bool = False

    def spans(self, text: str, deadline: Deadline, before: str) -> list[tuple[int, int]]:
        """Where it is in a text. Raises TooSlow."""
        found = self.pattern.spans(text, deadline, before)
        check = self.check
        return found if check is None else [each for each in found if check(text[each[0] : each[1]])]


class Filters:
    """All filters that hold for a key, the strongest first."""

    def __init__(self, filters: Iterable[Filter]) -> None:
        self.all = sorted(filters, key=lambda each: STRENGTH.index(each.action))
        #: those that look at answers
        self.answers = [each for each in self.all if each.answers]
        #: and at messages that are not the user's
        self.others = [each for each in self.all if not each.users]


def filters_of(guardrails: Iterable[Guardrail]) -> Filters | None:
    """The filters of all of them; of two that look for the same the stronger. None where there are none."""
    found: dict[str, Filter] = {}
    for guardrail in guardrails:
        mine = [*map(_own, guardrail.rules.content_filters or ()), *map(_builtin, guardrail.rules.builtins or ())]
        for each in mine:
            old = found.get(each.name, each)
            stronger = min(old, each, key=lambda one: STRENGTH.index(one.action))
            found[each.name] = msgspec.structs.replace(stronger, users=old.users and each.users)
    return Filters(found.values()) if found else None


def _own(each: ContentFilter) -> Filter:
    label = each.label or REDACTED
    return Filter(name=each.pattern, action=each.action, label=label, pattern=compiled(each.pattern))


def _builtin(each: BuiltinFilter) -> Filter:
    kind = BUILTINS[each.slug]
    return Filter(
        name=each.slug,
        action=each.action,
        label=kind.label,
        pattern=kind.pattern,
        check=kind.check,
        answers=kind.answers,
        users=each.scan_scope == "user_only",
    )


class Findings:
    """What was found in a request, or in an answer."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._counts: dict[str, int] = {}
        self._actions: dict[str, str] = {}

    def add(self, filter: Filter, number: int) -> None:
        """So many more."""
        if number:
            self._counts[filter.name] = self._counts.get(filter.name, 0) + number
            self._actions[filter.name] = filter.action

    def refuse(self) -> None:
        """Raises Forbidden where something was found that blocks."""
        names = [name for name, action in self._actions.items() if action == "block"]
        if names:
            shown = ", ".join(name if name in BUILTINS else f"the pattern {name[:80]!r}" for name in names)
            refusal = Forbidden(
                f"a guardrail of this key blocks the {self.where}: it holds {shown}",
                code="guardrail_blocked",
                metadata={"patterns": names},
            )
            refusal.spent = self.where == ANSWER
            raise refusal

    def entry(self) -> dict[str, Any] | None:
        """For the pipeline of the call; None where nothing was found."""
        if not self._counts:
            return None
        told = [f"{self._actions[name]} {name[:80]} ({count})" for name, count in self._counts.items()]
        data = {name: {"action": self._actions[name], "count": count} for name, count in self._counts.items()}
        return {
            "type": "guardrail",
            "name": "content-filter",
            "summary": f"{self.where}: {', '.join(told)}",
            "data": {"where": self.where, "filters": data},
        }


def too_slow(where: str = REQUEST) -> Forbidden:
    """The time is over: what was not looked through does not pass."""
    refusal = Forbidden(
        f"the content filters of this key's guardrails could not look through all of it within {BUDGET_S:g} s: send less text",
        code="guardrail_blocked",
    )
    refusal.spent = where == ANSWER
    return refusal


def filtered(
    text: str,
    filters: Sequence[Filter],
    deadline: Deadline,
    findings: Findings,
    *,
    before: str = "",
    quoted: bool = False,
) -> str:
    """The text without what is redacted. `before` is the character in front of it; `quoted`: it lies inside of JSON. Raises TooSlow."""
    spans: list[tuple[int, int, str]] = []
    for each in filters:
        found = each.spans(text, deadline, before)
        findings.add(each, len(found))
        if each.action == "redact":
            spans += ((start, end, each.label) for start, end in found)
    return _without(text, spans, quoted=quoted) if spans else text


def _without(text: str, spans: list[tuple[int, int, str]], *, quoted: bool) -> str:
    """Labels in place of spans; those that overlap are one, with the label of the first."""
    spans.sort(key=lambda each: (each[0], -each[1]))
    out: list[str] = []
    place = 0
    for start, end, label in spans:
        if start >= place:
            out += (text[place:start], _quoted(label) if quoted else label)
        place = max(place, end)
    return "".join((*out, text[place:]))


def _quoted(label: str) -> str:
    return msgspec.json.encode(label).decode()[1:-1]


# --- requests --------------------------------------------------------------------------------------------------------

#: members of requests, of all APIs, in which somebody has written
WRITTEN = (
    "messages",
    "system",
    "input",
    "instructions",
    "prompt",
    "suffix",
    "prediction",
    "query",
    "documents",
    "content",
    "contents",
    "title",
    "requests",
    "systemInstruction",
    "system_instruction",
    "generateContentRequest",
)
#: members inside of these that no one writes in
NAMES = frozenset(
    {
        *("type", "role", "id", "name", "model", "format", "detail", "cache_control", "file_id", "status"),
        *("tool_call_id", "call_id", "tool_use_id", "media_type", "mimeType", "mime_type", "data", "b64_json"),
        *("url", "fileUri", "file_uri", "file_data", "image_url", "signature", "thoughtSignature", "thought_signature"),
        *("encrypted_content", "redacted_thinking", "functionDeclarations"),
    }
)
#: and those that are signed together with their neighbour
SIGNED = frozenset({"thinking", "summary"})


class Walk:
    """Goes through what a request says and redacts it."""

    def __init__(self, filters: Filters, findings: Findings) -> None:
        self._filters = filters
        self._findings = findings
        self._deadline = Deadline(BUDGET_S)
        self.changed = False

    def body(self, body: bytes) -> bytes:
        """A request as it goes on; the same bytes where nothing is redacted. Raises Forbidden, and msgspec's errors."""
        members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        with self._deadline:
            for name in WRITTEN:
                if name in members:
                    members[name] = self._value(members[name], "user" if name not in ("system", "instructions") else "")
        return msgspec.json.encode(members) if self.changed else body

    def text(self, text: str, role: str = "user") -> str:
        """What somebody has written."""
        with self._deadline:
            return self._text(text, role, quoted=False)

    def _value(self, value: Any, role: str, *, quoted: bool = False) -> Any:
        if isinstance(value, str):
            return self._text(value, role, quoted=quoted)
        if isinstance(value, list):
            return [self._value(each, role) for each in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("role"), str):
            role = value["role"]
        signed = SIGNED if role not in ("user", "system", "developer") and value.get("signature") else frozenset[str]()
        return {
            name: each
            if (name in NAMES and not isinstance(each, dict | list)) or name in signed
            else self._value(each, role, quoted=name == "arguments")
            for name, each in value.items()
        }

    def _text(self, text: str, role: str, *, quoted: bool) -> str:
        if text.startswith("data:"):
            return text
        filters = self._filters.all if role == "user" else self._filters.others
        new = filtered(text, filters, self._deadline, self._findings, quoted=quoted)
        self.changed = self.changed or new is not text
        return new


# --- answers ---------------------------------------------------------------------------------------------------------


class Stream:
    """A text that comes in pieces. What comes out is held back only while something that is looked for may be under way."""

    def __init__(
        self, filters: Sequence[Filter], deadline: Deadline, findings: Findings, *, quoted: bool = False
    ) -> None:
        self._filters = filters
        self._deadline = deadline
        self._findings = findings
        self._quoted = quoted
        self._held = ""
        self._before = ""
        self._states = [each.pattern.start() for each in filters]
        #: something was redacted
        self.changed = False

    def feed(self, text: str) -> str:
        """More of it; what can go. Raises TooSlow, Forbidden."""
        cut = 0
        steps = [each.pattern.step for each in self._filters]
        states, deadline = self._states, self._deadline
        with deadline:
            for place, character in enumerate(text, 1):
                busy = False
                for number, step in enumerate(steps):
                    state = states[number] = step(states[number], character, deadline)[0]
                    busy = busy or bool(state.kernel)
                if not busy:
                    cut = place
            if not cut:
                self._held += text
                return ""
            ready, self._held = self._held + text[:cut], text[cut:]
            return self._through(ready)

    def end(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        with self._deadline:
            return self._through(rest) if rest else ""

    def _through(self, text: str) -> str:
        new = filtered(text, self._filters, self._deadline, self._findings, before=self._before, quoted=self._quoted)
        self._before = text[-1]
        self.changed = self.changed or new is not text
        self._findings.refuse()
        return new
