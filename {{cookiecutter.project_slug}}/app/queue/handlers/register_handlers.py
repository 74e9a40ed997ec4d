# The template's: an update changes it. Which files are yours: README.md.
"""Finds the handlers: every module in this folder has one class whose name ends in `Handler`.

It handles the queue that has the module's name; an attribute `queue` of the class names another, for a queue whose name
can't be a module's. A module that grew may be a package, whose `__init__.py` imports the class from a module in it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from app.queue import handlers
from app.queue.errors import ConfigError
from app.queue.processor import MessageProcessor


def register_handlers(processor: MessageProcessor) -> None:
    """Register one handler object a queue. Raises ConfigError for a module or a method that can't be one."""
    for info in pkgutil.iter_modules(handlers.__path__):
        if info.name == "register_handlers" or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{handlers.__name__}.{info.name}")
        found = [
            member
            for name, member in inspect.getmembers(module, inspect.isclass)
            if f"{member.__module__}.".startswith(f"{module.__name__}.")
            and name.endswith("Handler")
            and not name.startswith("_")
        ]
        if len(found) != 1:
            names = ", ".join(member.__name__ for member in found) or "none"
            raise ConfigError(
                f"{module.__file__}: must have one class whose name ends in 'Handler', but has {names}; "
                "begin the name of a module or class that is not a queue's handler with '_'"
            )
        queue = getattr(found[0], "queue", None)  # or it is the method of a message type of that name
        processor.register_handler(queue if isinstance(queue, str) else info.name, found[0]())
