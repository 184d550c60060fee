"""The recorded exchanges of ../shared/wire, read lazily.

They are not part of this repository. `ONEBOX_SHARED` names the folder that holds `wire/` and `specs/` where that is not
the folder `shared` beside the checkout.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ONEBOX_SHARED") or ROOT.parent / "shared")
WIRE = SHARED / "wire"
MISSING = f"no recordings at {WIRE}: set ONEBOX_SHARED to the folder that holds wire/"

CHAT_DIALECTS = ("openai-chat", "anthropic-messages", "gemini-generate")


@dataclass(frozen=True)
class Recording:
    """One exchange. `name` (provider and digest) is unique, and fit for a URL and for a provider instance."""

    name: str
    file: str
    provider: str
    dialect: str
    status: int
    features: tuple[str, ...]

    @cached_property
    def exchange(self) -> dict[str, Any]:
        """The whole file."""
        content: dict[str, Any] = json.loads((WIRE / self.file).read_text(encoding="utf-8"))
        return content

    @property
    def asked(self) -> dict[str, Any] | None:
        """The recorded request's body, None where only the answer was recorded."""
        body: dict[str, Any] | None = self.exchange["request"]["body"]
        return body

    @property
    def headers(self) -> dict[str, str]:
        """The recorded answer's headers."""
        return self.exchange["response"]["headers"] or {}

    @property
    def body(self) -> Any:
        """The answer's JSON, None for a stream."""
        return self.exchange["response"].get("body")

    @property
    def streamed(self) -> bool:
        """True where the answer is an event stream, AWS's binary one and JSON lines too."""
        return self.in_lines or bool({"sse", "body_base64"} & self.exchange["response"].keys())

    @property
    def in_lines(self) -> bool:
        """True where the answer is a stream of one JSON object a line."""
        return self.headers.get("content-type") in ("application/x-ndjson", "application/stream+json")

    @property
    def raw(self) -> bytes:
        """The answer's body as bytes: a stream as it was recorded, JSON encoded again."""
        response = self.exchange["response"]
        if "body_base64" in response:
            return base64.b64decode(response["body_base64"])
        text: str | None = response.get("sse") or response.get("text")
        return (json.dumps(response["body"], ensure_ascii=False) if text is None else text).encode()

    @property
    def frames(self) -> list[Any]:
        """The JSON of each event of a stream but `[DONE]`; of a plain answer its body, or each element of an array."""
        if not self.streamed:
            return self.body if isinstance(self.body, list) else [self.body]
        if self.in_lines:
            return [json.loads(line) for line in self.exchange["response"]["text"].splitlines() if line]
        text = self.exchange["response"]["sse"].replace("\r\n", "\n").replace("\r", "\n")
        events = ([line for line in block.split("\n") if line.startswith("data:")] for block in text.split("\n\n"))
        datas = ["\n".join(line[5:].removeprefix(" ") for line in lines) for lines in events if lines]
        return [json.loads(data) for data in datas if data.strip() != "[DONE]"]

    @property
    def model(self) -> str:
        """The model that was asked for, else the one that answered."""
        path = self.exchange["request"]["path"] or ""
        if self.asked and "model" in self.asked:
            return str(self.asked["model"])
        if "/models/" in path:
            return str(path.rsplit("/models/")[-1].split(":")[0])
        answers = [frame.get("message", frame) for frame in self.frames]
        return next((str(each[key]) for each in answers for key in ("model", "modelVersion") if each.get(key)), "test")


@cache
def recordings() -> tuple[Recording, ...]:
    """Every recording that is there, in the index's order; none where the folder is missing."""
    if not (WIRE / "index.json").exists():
        return ()
    rows = json.loads((WIRE / "index.json").read_text(encoding="utf-8"))
    return tuple(
        Recording(
            name=f"{row['provider']}-{Path(row['file']).stem.rsplit('-', 1)[-1]}",
            file=row["file"],
            provider=row["provider"],
            dialect=row["dialect"],
            status=row["status"],
            features=tuple(row["features"]),
        )
        for row in rows
    )


def chat_recordings() -> tuple[Recording, ...]:
    """The recordings of the dialects that answer /v1/chat/completions."""
    return tuple(each for each in recordings() if each.dialect in CHAT_DIALECTS)
