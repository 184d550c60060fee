"""What keys, webhooks and the like belong to: a workspace, a guardrail."""

from __future__ import annotations

from typing import Any

from ..errors import BadRequest
from . import Request


def lies_in_what_is_there(request: Request, settings: dict[str, Any]) -> None:
    """Put the ids of workspaces in place of their slugs. Raises BadRequest where there is no such workspace or guardrail."""
    workspace, guardrail = settings.get("workspace_id"), settings.get("guardrail_id")
    if workspace is not None:
        if (found := request.server.workspaces.find(workspace)) is None:
            raise BadRequest(
                f"there is no workspace {workspace[:100]!r}; GET /workspaces lists what there is", param="workspace_id"
            )
        settings["workspace_id"] = found.id
    if guardrail is not None and request.server.guardrails.find(guardrail) is None:
        raise BadRequest(
            f"there is no guardrail {guardrail[:100]!r}; GET /guardrails lists what there is", param="guardrail_id"
        )
