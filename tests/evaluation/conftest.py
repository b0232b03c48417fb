"""What all tests of evaluation need."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks at the speeds."""
    monkeypatch.setattr("wordllama_st.evaluation.run._WARM_SECONDS", 0)
