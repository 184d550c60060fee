"""Circuits: how many are kept. What they do to routes is in tests/routing."""

from __future__ import annotations

import pytest

from router import health
from router.call import Attempt, Candidate, Credential, Endpoint
from router.errors import UpstreamUnavailable
from router.health import Health
from router.model import Model
from router.provider import Provider, ProviderSettings
from router.settings import Timeouts


class Plain(Provider):
    name = "plain"


def attempt(model: str, *, good: bool) -> Attempt:
    endpoint = Endpoint(provider=PROVIDER, model_id=f"plain/{model}", model=Model(id=model, name=model))
    error = None if good else UpstreamUnavailable("broken")
    return Attempt(candidate=Candidate(endpoint=endpoint, credential=Credential(secret="k")), started_s=0, error=error)


PROVIDER = Plain("plain", ProviderSettings(plugin="plain"), Timeouts())


@pytest.mark.parametrize("good", [True, False])
def test_names_that_clients_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, good: bool) -> None:
    monkeypatch.setattr(health, "MOST", 100)
    kept = Health(lambda: 0.0)

    for number in range(1000):
        kept.attempted(attempt(f"m{number}", good=good))

    assert len(kept.provider("plain")) <= 100
    assert len(kept.uneasy) <= 100


def test_an_open_circuit_outlasts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST", 100)
    kept = Health(lambda: 0.0)
    for _ in range(3):
        kept.attempted(attempt("ill", good=False))

    for number in range(1000):
        kept.attempted(attempt(f"m{number}", good=True))

    assert not kept.available(attempt("ill", good=True).candidate)
