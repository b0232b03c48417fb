"""Texts, an embedding and a recorder of LlamaIndex's events for the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# Set before huggingface_hub is imported, which reads it once: no test waits for a network.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.core.schema import Document
from llama_index.embeddings.wordllama import WordLlamaEmbedding

FACTS = [
    "The kitten sleeps on a warm blanket beside the stove.",
    "A parcel that did not arrive is sent again, or the money is returned.",
    "Volcanoes erupt when molten rock rises through cracks in the crust.",
    "The orchestra rehearses its symphony every Thursday evening.",
    "Interest rates rose after the central bank's meeting.",
    "To prune a rose bush, cut just above an outward-facing bud.",
    "The striker scored twice in the second half of the football match.",
    "Passwords are reset on the account page, under security.",
]


@pytest.fixture(scope="session")
def embedding() -> WordLlamaEmbedding:
    return WordLlamaEmbedding()


@pytest.fixture
def documents() -> list[Document]:
    return [Document(text=fact, id_=f"fact-{number}") for number, fact in enumerate(FACTS)]


class Recorder(BaseEventHandler):
    """Keeps the events that it handles."""

    events: list[BaseEvent] = []

    @classmethod
    def class_name(cls) -> str:
        return "Recorder"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)

    def chunks(self) -> list[str]:
        """The texts that were embedded."""
        return [chunk for event in self.events for chunk in getattr(event, "chunks", [])]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    dispatcher = get_dispatcher()
    handlers = list(dispatcher.event_handlers)
    recorder = Recorder()
    dispatcher.add_event_handler(recorder)
    yield recorder
    dispatcher.event_handlers = handlers
