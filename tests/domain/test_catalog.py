"""The catalog: what cannot be is refused, with the name of its entry."""

from __future__ import annotations

import pytest

from imagequeue.domain.catalog import CALL_BACK, ProviderName
from imagequeue.domain.errors import ConfigurationError
from tests.builders import catalog


def test_an_upstream_calls_back_only_where_that_is_asked_for() -> None:
    assert [one.callbacks for one in catalog(provider="pixazo").deployments] == [False, False]
    assert catalog(provider="pixazo", callbacks=True).deployments[0].callbacks


@pytest.mark.parametrize("provider", ["foundry", "aiml", "openrouter", "omixa", "openai"])
def test_callbacks_of_an_upstream_that_has_none_are_refused(provider: ProviderName) -> None:
    assert provider not in CALL_BACK
    with pytest.raises(ConfigurationError, match=r"deployments 'foundry-test': .*callbacks.*pixazo"):
        catalog(provider=provider, callbacks=True)
