"""Names of tools: what the upstream sees for what the client said, and back.

`json_output` is ours: where a model has no structured outputs, the answer comes as the input of a forced call of that tool. A client's
tool of that name gets one more underscore, so that an answer can be read without knowing its request.
"""

from __future__ import annotations

import hashlib
import re

JSON_OUTPUT = "json_output"
MAX_LENGTH = 128

_RESERVED = re.compile(r"json_output_*")
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def upstream_name(name: str) -> str:
    """A name that Anthropic takes. One that is too long or of other characters is cut, with a digest to tell it from others."""
    if _RESERVED.fullmatch(name):
        return f"{name}_"
    if len(name) <= MAX_LENGTH and name and not _FOREIGN.search(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{_FOREIGN.sub('_', name)[: MAX_LENGTH - 9]}_{digest}"


def client_name(name: str) -> str:
    """The name as the client said it."""
    return name[:-1] if name != JSON_OUTPUT and _RESERVED.fullmatch(name) else name
