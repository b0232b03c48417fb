"""What a directory's content was made of, recorded beside it, so that nothing else goes on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wordllama_st.errors import ModelLoadError, reason
from wordllama_st.storage.staging import staged_file


def claim(path: Path, made_of: Mapping[str, Any], notes: Mapping[str, Any] | None = None) -> list[str]:
    """Record what a directory's content is to be made of, or compare that with what was recorded.

    Args:
        path: The record, a JSON file in the directory, which is made with it.
        made_of: What must be the same for the content to be used.
        notes: What is recorded as well, and not compared.

    Returns:
        The names of what is different; none where nothing was recorded yet.

    Raises:
        ModelLoadError: If the record is damaged.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staging:
            staging.write_text(json.dumps({**made_of, **(notes or {})}, indent=2) + "\n", encoding="utf-8")
        return []
    try:
        recorded = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelLoadError(f"{path} is damaged: {reason(error)}. Delete {path.parent} and run again.") from error
    return [key for key in made_of if recorded.get(key) != made_of[key]]
