"""What must not stand in a recording, and how it is taken out.

Two kinds: what this configuration is known to hold (keys, project, the host of a private server), wherever it turns up and however it
is written; and what looks like a credential, a person or an account, whosever it is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from yarl import URL

from ..provider import KEY_SHAPED, Provider

SCRUBBED = "SCRUBBED"
HOST = "upstream.example"
#: shorter words would be found inside of others
SHORTEST = 6
#: settings whose last word is one of these say who somebody is
PRIVATE = re.compile(
    r"(?:^|[-_ ])(?:keys?|id|secret|token|credentials?|password|project|organi[sz]ation|account|tenant|profile|resource|user|email"
    r"|authorization|cookie)$",
    re.IGNORECASE,
)
#: headers of an answer that say something to a plugin; all others stay out
KEPT_HEADERS = re.compile(
    r"content-type|retry-after(-ms)?|x-should-retry|x-amzn-errortype|x-ratelimit-\S+", re.IGNORECASE
)

#: pattern -> what it is replaced with
PATTERNS: list[tuple[re.Pattern[str], str]] = [
    (KEY_SHAPED, SCRUBBED),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?"), SCRUBBED),
    (re.compile(r"\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{12,}\b"), SCRUBBED),
    (re.compile(r"\bya29\.[\w.-]+"), SCRUBBED),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/-]{12,}=*"), rf"\g<1>{SCRUBBED}"),
    (re.compile(r"(?i)\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=)[^&\"\s\\]+"), rf"\g<1>{SCRUBBED}"),
    (re.compile(r"\b(Signature=)[0-9a-fA-F]{32,}"), rf"\g<1>{SCRUBBED}"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"), "somebody@example.com"),
    (re.compile(r"(\barn:aws[\w-]*:[\w-]*:[\w-]*:)\d{12}(?=:)"), r"\g<1>000000000000"),
    (re.compile(r"(\bprojects/)[^/\"\s\\?]+"), rf"\g<1>{SCRUBBED}"),
    (re.compile(r"\b(org|proj|user|acct|acc|wrkspc|tenant)([-_])[A-Za-z0-9]{10,}\b"), rf"\g<1>\g<2>{SCRUBBED}"),
    (
        re.compile(
            r'(\\?"(?:organi[sz]ation|org|project|account|user|tenant|workspace|customer)(?:_?(?:id|uuid|name|number))\\?"\s*:\s*\\?")'
            r'[^"\\]+|(\\?"(?:organi[sz]ation|email|api_?key|access_?token|session_?token)\\?"\s*:\s*\\?")[^"\\]+',
            re.IGNORECASE,
        ),
        rf"\g<1>\g<2>{SCRUBBED}",
    ),
]


class Scrubber:
    """Takes out what is private, by what one configured provider knows of itself."""

    def __init__(self, provider: Provider) -> None:
        words = {each: SCRUBBED for each in _secrets(provider) if len(each) >= SHORTEST}
        words |= dict.fromkeys(_private_hosts(provider), HOST)
        spelled = {form: new for word, new in words.items() for form in _forms(word)}
        #: the longest first: one may be part of another
        self._words = sorted(spelled.items(), key=lambda each: -len(each[0]))

    def text(self, text: str) -> str:
        """The text without it."""
        for word, new in self._words:
            text = text.replace(word, new)
        for pattern, new in PATTERNS:
            text = pattern.sub(new, text)
        return text

    def clean(self, content: bytes) -> bool:
        """Is there nothing in these bytes? For forms with lengths and checksums, in which nothing can be replaced."""
        text = content.decode("utf-8", "replace")
        return self.text(text) == text

    def headers(self, headers: Any) -> dict[str, str]:
        """Those of an answer that a plugin may look at."""
        return {name.lower(): self.text(value) for name, value in headers.items() if KEPT_HEADERS.fullmatch(name)}


def _secrets(provider: Provider) -> Iterator[str]:
    """All that the settings of this provider say of somebody."""
    for credential in provider.credentials:
        yield credential.secret
    settings = msgspec.structs.asdict(provider.settings)
    url = URL(settings.get("base_url") or "")
    yield from (each for each in (url.user, url.password) if each)
    for name, value in settings.items():
        yield from _private(name, value)


def _private(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner, each in value.items():
            yield from _private(inner, each)
    elif isinstance(value, list):
        for each in value:
            yield from _private(name, each)
    elif isinstance(value, str) and PRIVATE.search(name):
        yield value
        # A key file: each of its values is somebody's.
        if value.lstrip().startswith("{"):
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from (each for each in inner.values() if isinstance(each, str) and not each.startswith("https://"))


def _private_hosts(provider: Provider) -> list[str]:
    """Where the upstream is, with and without its port, unless everybody's is there."""
    mine = URL(provider.settings.base_url or "")
    fields = {field.name: field.default for field in msgspec.structs.fields(type(provider.settings))}
    usual = fields.get("base_url")
    if not mine.host or (isinstance(usual, str) and URL(usual).host == mine.host):
        return []
    return [mine.authority.rpartition("@")[2], mine.host]


def _forms(word: str) -> set[str]:
    """A word as it is, in JSON, in a URL and in base64."""
    plain = word.encode()
    return {
        word,
        json.dumps(word)[1:-1],
        json.dumps(word, ensure_ascii=False)[1:-1],
        quote(word, safe=""),
        base64.b64encode(plain).decode(),
        base64.urlsafe_b64encode(plain).decode(),
    }
