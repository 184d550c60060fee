"""A second opinion on a parameter (footnote of api.md 4.1): one upstream may refuse what another one of the same model takes."""

from __future__ import annotations

import re

from ...call import Attempt, Call, Candidate
from ...errors import UpstreamError, UpstreamRejected

#: names of members whose feature has another one
FEATURES = {
    "reasoning_effort": "reasoning",
    "thinking": "reasoning",
    "functions": "tools",
    "max_completion_tokens": "max_tokens",
}


def ask_another(call: Call, attempt: Attempt) -> None:
    """Let the next candidate be asked, once a call, where the upstream has refused a parameter that the other one is known to take."""
    error = attempt.error
    if error is None or not _refused(error) or any(_refused(each.error) for each in call.attempts[:-1]):
        return
    feature = _feature(error.param or "")
    following = _following(call, attempt.candidate)
    if (
        following is None
        or following.group != attempt.candidate.group
        or following.endpoint is attempt.candidate.endpoint
    ):
        return
    if feature in call.head.needs and feature in following.endpoint.model.parameters:
        error.falls_over = True


def _refused(error: UpstreamError | None) -> bool:
    return isinstance(error, UpstreamRejected) and error.kind == "invalid_request" and error.param is not None


def _feature(param: str) -> str:
    """What `tools[0].function.name` and the like are about."""
    name = re.split(r"[.\[]", param, maxsplit=1)[0]
    return FEATURES.get(name, name)


def _following(call: Call, candidate: Candidate) -> Candidate | None:
    candidates = list(call.plan.candidates)
    place = next((number for number, each in enumerate(candidates, 1) if each is candidate), len(candidates))
    return candidates[place] if place < len(candidates) else None
