"""Whether anything observes the framework, so that nothing is told where nothing listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.span_handlers import NullSpanHandler

if TYPE_CHECKING:
    from llama_index_instrumentation.dispatcher import Dispatcher


def with_those_above(*dispatchers: Dispatcher) -> tuple[Dispatcher, ...]:
    """Dispatchers and all to whom they may pass on what they are told."""
    found = {}
    for dispatcher in dispatchers:
        found[dispatcher.name] = dispatcher
        while dispatcher.name != dispatcher.root_name:
            dispatcher = dispatcher.parent
            found[dispatcher.name] = dispatcher
    return tuple(found.values())


def have_handlers(dispatchers: tuple[Dispatcher, ...]) -> bool:
    """
    Whether one of the dispatchers has a handler that is told of events or of spans.

    The framework starts out with handlers that do nothing. They do not count; one of a class derived from theirs does.
    """
    for dispatcher in dispatchers:
        for event_handler in dispatcher.event_handlers:
            if type(event_handler) is not NullEventHandler:
                return True
        for span_handler in dispatcher.span_handlers:
            if type(span_handler) is not NullSpanHandler:
                return True
    return False


def has_callbacks(manager: CallbackManager) -> bool:
    """Whether a callback manager calls anything. One of a derived class may do so without handlers."""
    return bool(manager.handlers) or type(manager) is not CallbackManager
