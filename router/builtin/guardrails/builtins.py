"""What the router knows how to look for by itself. A pattern finds what looks like it, a check tells what is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from .patterns import Pattern


class Builtin:
    """One kind of thing. `label` stands in its place where it is redacted; `answers`: it is looked for in answers too."""

    def __init__(
        self, label: str, *patterns: str, check: Callable[[str], bool] | None = None, answers: bool = True
    ) -> None:
        self.label = label
        self.check = check
        self.answers = answers
        self._source = "|".join(f"(?:{each})" for each in patterns)
        self._pattern: Pattern | None = None

    @property
    def pattern(self) -> Pattern:
        """Made when it is needed first."""
        if self._pattern is None:
            self._pattern = Pattern(f"(?i){self._source}", nested=True)
        return self._pattern


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def luhn(text: str) -> bool:
    """Is the last digit the one that the others ask for? (ISO/IEC 7812)"""
    total = 0
    for place, digit in enumerate(reversed(_digits(text))):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _phone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


def _ssn(text: str) -> bool:
    digits = _digits(text)
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(each.isdigit() for each in text)  # a::b may be a name in a program


BUILTINS = {
    "email": Builtin("[EMAIL]", r"[a-z0-9._%+-]+@(?:[a-z0-9-]+\.)+[a-z]{2,24}"),
    "phone": Builtin(
        "[PHONE]",
        r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}\b",
        r"(?:\b1[ .-]?)?(?:\(\d{3}\) ?|\b\d{3}[ .-])\d{3}[ .-]\d{4}\b",
        check=_phone,
    ),
    "ssn": Builtin("[SSN]", r"\b\d{3}[ -]\d{2}[ -]\d{4}\b", check=_ssn),
    "credit-card": Builtin("[CREDIT_CARD]", r"\b\d(?:[ -]?\d){12,18}\b", check=luhn),
    "ip-address": Builtin(
        "[IP_ADDRESS]",
        r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
        r"\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}(?:\.\d{1,3}){0,3}",
        check=_ip,
    ),
    "regex-prompt-injection": Builtin(
        "[PROMPT_INJECTION]",
        r"\b(?:ignore|disregard|forget|override|bypass)\s+(?:all\s+|any\s+)?(?:of\s+)?(?:the\s+|your\s+|my\s+|these\s+)?"
        r"(?:previous|prior|above|earlier|preceding|system)\s+"
        r"(?:instructions?|prompts?|rules?|messages?|directions?|guidelines?|context)",
        r"\b(?:reveal|show|print|repeat|output|leak)\s+(?:me\s+)?(?:the\s+|your\s+)?(?:system|hidden|initial|secret)\s+"
        r"(?:prompt|instructions?|message)",
        r"\byou\s+are\s+(?:now\s+)?(?:in\s+)?(?:dan|developer\s+mode|jailbroken|unrestricted)\b",
        r"\b(?:pretend|act)\s+(?:as\s+if\s+|like\s+|that\s+)?you\s+(?:have\s+no|are\s+not\s+bound\s+by)\s+(?:any\s+)?"
        r"(?:restrictions|rules|guidelines|filters)",
        r"\bdo\s+anything\s+now\b",
        r"<\|(?:im_start|im_end|system)\|>",
        answers=False,
    ),
}
