# The template's: an update changes it. Which files are yours: README.md.
"""What there is at the broker already, judged by a provider's table: it may cost no message, or it is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from app.queue.errors import BrokerRefusedError

logger = logging.getLogger(__name__)


def unset(value: Any, found: Mapping[str, Any]) -> bool:  # noqa: ARG001 - a rule is asked with all that was found
    """True if the argument says nothing: it is absent, or means "no limit"."""
    return value in (None, False, 0, -1, "", [], {})


def one_of(*good: Any) -> Callable[[Any, Mapping[str, Any]], bool]:
    """True if the argument is one of these."""
    return lambda value, _: value in good


class Rule(NamedTuple):
    """What an argument may be. `harm`: what else becomes of messages; "" if nothing does, and a difference is said.

    `fine` is asked for its value, with all arguments that were found.
    """

    harm: str = ""
    fine: Callable[[Any, Mapping[str, Any]], bool] = unset


LOSES_NOTHING = Rule()


def judge(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], rules: Mapping[str, Rule], mend: str) -> None:
    """Raise BrokerRefusedError if `what` would lose, hide or delay messages; warn where it differs otherwise.

    An argument without a rule is not looked at.
    """
    harms: list[str] = []
    differences: list[str] = []
    for name, rule in rules.items():
        value, ours = found.get(name), wanted.get(name)
        if rule.harm and not rule.fine(value, found):
            harms.append(f"{name} {'not set' if value is None else value} ({rule.harm})")
        elif value != ours and not (unset(value, found) and unset(ours, wanted)):
            differences.append(f"{name} is {value!r}, and this service would say {ours!r}")
    if harms:
        raise BrokerRefusedError(f"{what} exists, and would lose, hide or delay messages: {'; '.join(harms)}; {mend}")
    if differences:
        logger.warning("%s is used as it is: %s", what, "; ".join(differences))
