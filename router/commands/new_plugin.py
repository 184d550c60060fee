"""The folder of a new provider plugin, whose tests pass at once: what `router plugins new` writes.

It starts from a provider that speaks OpenAI's chat API, which most do; its README says what to override for another one.
"""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path
from string import Template
from typing import Any

from .terminal import CommandError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def make(name: str, parent: Path) -> Path:
    """Write `onebox-router-<name>` below `parent` and return it. Raises CommandError where the name will not do, or it is there."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CommandError(f"{name!r} will not do: small letters, digits and single dashes, beginning with a letter")
    folder = parent / f"onebox-router-{name}"
    if folder.exists():
        raise CommandError(f"{folder} is there already; nothing was written")
    words = {
        "name": name,
        "package": f"router_{name.replace('-', '_')}",
        "cls": "".join(part.capitalize() for part in name.split("-")),
        "variable": f"{name.replace('-', '_').upper()}_API_KEY",
    }
    for path, text in FILES.items():
        file = folder / Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(words), encoding="utf-8")
    for path, recording in RECORDINGS.items():
        file = folder / "tests" / "recordings" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(recording, indent=1) + "\n", encoding="utf-8")
    return folder


FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
""",
    "setup.cfg": """\
[metadata]
name = onebox-router-$name
version = 0.1.0
description = onebox-router: $name as a provider
long_description = file: README.md
long_description_content_type = text/markdown

[options]
python_requires = >=3.11
packages = find:
zip_safe = False
install_requires =
    onebox-router>=1,<2

[options.extras_require]
test =
    pytest>=8
    pytest-asyncio>=1

[options.packages.find]
include = $package*

[options.package_data]
* =
    py.typed
    **/*.json

[options.entry_points]
router =
    $name = $package

[tool:pytest]
asyncio_mode = auto
testpaths = tests
""",
    "README.md": """\
# onebox-router-$name

$name as a provider of [onebox-router](https://pypi.org/project/onebox-router/).

```toml
[providers.$name]
plugin = "$name"
api_key = "env:$variable"
```

## What to do next

- `$package/__init__.py` is a provider that speaks OpenAI's chat API. Correct its `base_url`. Where the upstream deviates, set the
  attributes of `OpenAICompatible` (`drops`, `reasoning_form`, `max_tokens_member`, …).
- Where it speaks an API of its own, derive from `Provider` instead and write `encode`, `decode`, `events` and `error`.
- Replace the recordings in `tests/recordings` with real ones: `router record --provider $name`. The tests in
  `tests/test_conformance.py` are inherited: they check what every provider must do.
- `quality.toml` says what works; people read it before they choose a plugin.

| | |
|---|---|
| Supports | chat, plain and streamed; tools |
| Drops | nothing yet |
""",
    "quality.toml": """\
# What this provider does: "done", "todo", or "exempt: why".
plain = "done"
streaming = "done"
tools = "done"
reasoning = "todo"
structured_outputs = "todo"
images = "todo"
embeddings = "todo"
""",
    "$package/py.typed": "",
    "$package/__init__.py": '''\
"""$cls as a provider: an API that is compatible with OpenAI's chat completions."""

from __future__ import annotations

from router import Automatic, Model, OpenAICompatible, Price, Provider, ProviderSettings, hookimpl


class Settings(ProviderSettings, kw_only=True, forbid_unknown_fields=True):
    """`[providers.$name]`."""

    base_url: str = "https://api.$name.example/v1"


class $cls(OpenAICompatible):
    """Chat completions, plain and streamed."""

    name = "$name"
    Settings = Settings
    # Members of messages beyond OpenAI's that the upstream takes, such as "reasoning_content". None: thoughts stay here.
    keeps = frozenset()
    # With no configuration at all, a key in the environment is enough.
    automatic = (Automatic(slug="$name", environment="$variable"),)

    def catalogue(self) -> list[Model]:
        """The models that are known without asking. Prices are picodollars (1e-12 USD) per token."""
        return [
            Model(
                id="$name-small",
                name="$cls Small",
                context_length=128_000,
                max_output=8_192,
                price=Price(prompt=100_000, completion=400_000),
                parameters=["tools", "tool_choice", "temperature", "top_p", "max_tokens", "stop", "seed"],
            )
        ]


@hookimpl
def router_providers() -> list[type[Provider]]:
    """What this plugin brings."""
    return [$cls]
''',
    "tests/conftest.py": '''\
"""What the tests share: `start` starts routers, `upstream` is one that answers as a test says."""

pytest_plugins = ["router.testing.fixtures"]
''',
    "tests/test_conformance.py": '''\
"""What every provider must do."""

from pathlib import Path

from $package import $cls

from router.testing import ProviderConformance


class Test$cls(ProviderConformance):
    provider = $cls
    recordings = Path(__file__).parent / "recordings"
    model = "$name-small"
''',
}


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choices = [] if more else [{"index": 0, "delta": delta, "finish_reason": finish}]
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1767225600, "model": "small"}
    return "data: " + json.dumps({**value, "choices": choices, **more}) + "\n\n"


def _call(index: int, **function: str) -> dict[str, Any]:
    named = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **named, "function": function}]}


_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
_STREAM = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}

#: made by hand, in the form in which OpenAI's API answers
RECORDINGS: dict[str, dict[str, Any]] = {
    "text_stream.json": {
        "response": {
            "status": 200,
            "headers": _STREAM,
            "sse": _chunk({"role": "assistant", "content": ""})
            + _chunk({"content": "Grüß"})
            + _chunk({"content": " dich"})
            + _chunk({}, "stop")
            + _chunk({}, usage=_USAGE)
            + "data: [DONE]\n\n",
        },
        "expected": {"text": "Grüß dich", "finish_reason": "stop", "usage": {"input": 9, "output": 5}},
    },
    "tools_stream.json": {
        "response": {
            "status": 200,
            "headers": _STREAM,
            "sse": _chunk({"role": "assistant", "content": None})
            + _chunk(_call(0, name="get_weather", arguments=""))
            + _chunk(_call(0, arguments='{"city":'))
            + _chunk(_call(0, arguments='"Oslo"}'))
            + _chunk({}, "tool_calls")
            + _chunk({}, usage=_USAGE)
            + "data: [DONE]\n\n",
        },
        "expected": {"tools": [["get_weather", {"city": "Oslo"}]], "finish_reason": "tool_calls"},
    },
    "text.json": {
        "response": {
            "status": 200,
            "headers": _JSON,
            "body": {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1767225600,
                "model": "small",
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
                ],
                "usage": _USAGE,
            },
        },
        "expected": {"text": "Hello.", "finish_reason": "stop", "usage": {"input": 9, "output": 5}},
    },
    "busy.json": {
        "response": {
            "status": 429,
            "headers": {**_JSON, "retry-after": "3"},
            "body": {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}},
        },
        "expected": {"error": "UpstreamBusy"},
    },
}
