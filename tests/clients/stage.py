"""A router, and behind it models that follow simple rules, for clients that run in another environment than ours.

`python -m tests.clients.stage` prints one line of JSON (`url`, `key`, `upstream`, `models`) and serves until its standard input
ends; the clients of tests/node get the same models in a process of pytest's. The models answer by what reached them, so a client's
answer shows what became of its request:

- a request with pictures is told their type and size, one with results of tools is told the results;
- a request with tools calls each of them, the only one twice, for two cities, and the one that it must once; with a schema it gets
  JSON after it;
- `fail with 429` (or another status) in the last words fails like this, `fail in the middle` after two words; `tell at length NAME`
  is a stream of half a minute, and `GET /left/NAME` of the upstream says whether its reader has gone.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from aiohttp import web

from router.testing import sse_answer
from router.testing.upstream import Handler
from tests.serving import serving, upstream_in_a_thread

from .families import FAMILIES, Answer, Family, ToolCall
from .reading import Seen, read
from .responses import Responses

WORDS = ("Hei", ", Ås", "! 🌍")
CITIES = ("Oslo", "Ås 🌧")
REFUSAL = "not like this, says the model"
COMPLAINT = "out of breath"
#: for clients that try again, whatever they are told, it should not be long
WAIT_S = 1
LONG = Answer(words=("word ",) * 600)
VECTOR = [0.5, -0.25, 1.0]


def main() -> None:
    """Serve until nobody listens any more."""
    with upstream_in_a_thread() as upstream, tempfile.TemporaryDirectory() as folder:
        upstream.will(Models().answer)
        tables: dict[str, Any] = {family.slug: family.provider(upstream.url) for family in FAMILIES}
        with serving(Path(folder), {"providers": {**tables, "echo": {"plugin": "echo"}}}) as served:
            told = {"url": served.url, "key": served.key, "management": served.management}
            told |= {"upstream": upstream.url, "models": models()}
            print(json.dumps(told), flush=True)
            sys.stdin.read()


def models() -> dict[str, str]:
    """What clients ask for, by family."""
    return {family.slug: family.model for family in FAMILIES}


class Models:
    """Every model of every family. `left` holds the names of long answers whose reader has gone."""

    def __init__(self) -> None:
        self.left: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request by the rules."""
        if request.path.startswith("/left/"):
            return web.json_response(request.path.removeprefix("/left/") in self.left)
        family = family_of(request.path)
        body = await request.json()
        if "embed" in request.path.lower():
            return web.json_response(vectors(request.path, body))
        seen = read(family, request.path, body)
        if told := re.search(r"tell at length (\w+)", seen.last):
            return await self._at_length(told[1], family, request)
        return await by_rule(family, seen)(request)

    async def _at_length(self, name: str, family: Family, request: web.Request) -> web.StreamResponse:
        try:
            return await family.streamed(LONG, pause_s=0.05)(request)
        except BaseException:
            self.left.add(name)
            raise


def family_of(path: str) -> Family:
    """Who serves this path."""
    if path.endswith("/responses"):
        return Responses()
    return next(family for family in FAMILIES if path.startswith(family.base))


def by_rule(family: Family, seen: Seen) -> Handler:
    """How this request is answered."""
    if told := re.search(r"fail with (\d+)", seen.last):
        return family.fails(int(told[1]), REFUSAL, headers={"retry-after": str(WAIT_S)})
    if "fail in the middle" in seen.last:
        return sse_answer([*two_words(family), family.failing(COMPLAINT)])
    answer = Answer(words=words(seen), calls=() if seen.results else calls(seen))
    return family.streamed(answer) if seen.stream else family.plain(answer)


def two_words(family: Family) -> list[bytes]:
    """The beginning of a stream."""
    frames = family.frames(Answer(words=WORDS))
    second = json.dumps(WORDS[1])[1:-1].encode()
    return frames[: next(number for number, frame in enumerate(frames, 1) if second in frame)]


def words(seen: Seen) -> tuple[str, ...]:
    """What the model says, in pieces."""
    if seen.results:
        return ("I am told: ", "; ".join(seen.results))
    if seen.images:
        return ("I see ", "; ".join(described(image) for image in seen.images))
    if seen.tools:
        return ()
    if seen.schema is not None:
        text = json.dumps(sample(seen.schema, seen.schema, CITIES[0]))
        return tuple(text[start : start + 5] for start in range(0, len(text), 5))
    return WORDS


def described(image: str) -> str:
    """A data URL in words."""
    kind, _, data = image.removeprefix("data:").partition(";base64,")
    return f"{kind} of {len(b64decode(data, altchars=b'-_' if re.search('[-_]', data) else None))} bytes"


def calls(seen: Seen) -> list[ToolCall]:
    """One call for each city, or one of each tool; a single one where its arguments are the answer."""
    names = [seen.forced] if seen.forced else list(seen.tools)
    asked = [(name, CITIES[-1]) for name in names]
    if len(names) == 1:
        asked = [(names[0], city) for city in (CITIES[:1] if seen.forced else CITIES)]
    return [
        ToolCall(f"call_{number}", name, sample(seen.tools[name], seen.tools[name], city))
        for number, (name, city) in enumerate(asked, 1)
    ]


def sample(schema: Any, root: Any, city: str) -> Any:
    """A value after a schema: each text is the city, each number 21."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return sample((root.get("$defs") or root["definitions"])[name], root, city)
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        return {name: sample(each, root, city) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema["items"], root, city)]
    return {"string": city, "integer": 21, "number": 21, "boolean": True}[kind]


def vectors(path: str, body: Any) -> Any:
    """The vector of each text, in the form of the path."""
    if path.endswith(":batchEmbedContents"):
        return {"embeddings": [{"values": VECTOR} for _ in body["requests"]]}
    if path.endswith(":embedContent"):
        return {"embedding": {"values": VECTOR}}
    count = len(body["input"]) if isinstance(body["input"], list) else 1
    data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(count)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


if __name__ == "__main__":
    main()
