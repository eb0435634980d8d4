"""Every dialect there is: each module of `adapters` that says `DIALECT = ...`.

Nothing else names one, so that a new dialect is a new file. What is found is the same in every process of an
installation: it is looked for once, when this module is imported.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from imagequeue.dialects import adapters
from imagequeue.dialects.dialect import Dialect, DialectRoute, ModelsDialect, WebhookDialect
from imagequeue.domain.job_view import JobView
from imagequeue.domain.webhooks import WebhookMessage

WebhookBody = Callable[[JobView], Mapping[str, Any]]
WebhookHeaders = Callable[[WebhookMessage], dict[str, str]]

_ABOUT_A_JOB = frozenset({"status", "result", "cancel"})


class Dialects:
    """The dialects of an installation: by path, and in the order in which their routes are tried.

    Raises:
        TypeError: two have one name or one prefix, none has `/`, a route lies below another one's prefix, or
            lacks what its verb needs; the message names the dialect.
    """

    def __init__(self, found: Iterable[Dialect]) -> None:
        self._all = tuple(found)
        self._by_prefix: dict[str, Dialect] = {}
        for dialect in self._all:
            self._add(dialect)
        if "" not in self._by_prefix:
            raise TypeError("no dialect has the prefix /")
        for dialect, route in self.routes():
            self._check(dialect, route)

    def __iter__(self) -> Iterator[Dialect]:
        return iter(self._all)

    def at(self, path: str) -> Dialect:
        """The dialect in which errors below a path are told: the one with the longest prefix of it."""
        prefix = path.rstrip("/")
        while prefix not in self._by_prefix:
            prefix = prefix.rpartition("/")[0]
        return self._by_prefix[prefix]

    def routes(self) -> list[tuple[Dialect, DialectRoute]]:
        """All routes in the order in which they are tried: where two differ first, text before a parameter.

        So fixed paths are first, and a path that is all parameters hides no other.
        """
        found = [(dialect, route) for dialect in self._all for route in dialect.routes]
        return sorted(found, key=lambda one: specificity(one[1].path))

    def webhook_bodies(self, origin: str) -> dict[str, WebhookBody]:
        """How dialects with webhooks of their own write them, by name; `origin` as in `ClientRequest`."""
        return {dialect.name: _written(dialect, origin) for dialect in self._own_webhooks()}

    def webhook_headers(self) -> dict[str, WebhookHeaders]:
        """How these dialects identify and sign an attempt, by name."""
        return {dialect.name: dialect.webhook_headers for dialect in self._own_webhooks()}

    def _own_webhooks(self) -> list[WebhookDialect]:
        return [dialect for dialect in self._all if isinstance(dialect, WebhookDialect)]

    def _add(self, dialect: Dialect) -> None:
        if [one.name for one in self._all].count(dialect.name) > 1:
            raise TypeError(f"{dialect.name}: two dialects have this name")
        for prefix in dialect.prefixes:
            if self._by_prefix.setdefault(prefix.rstrip("/"), dialect) is not dialect:
                raise TypeError(f"{dialect.name}: another dialect has the prefix {prefix}, too")

    def _check(self, dialect: Dialect, route: DialectRoute) -> None:
        if self.at(route.path) is not dialect:
            raise TypeError(f"{dialect.name}: {route.path} is below a prefix of {self.at(route.path).name}")
        if route.verb == "submit" and not route.bodies:
            raise TypeError(f"{dialect.name}: {route.path} takes no body and is a submit")
        if route.verb in _ABOUT_A_JOB and "request_id" not in route.parameters:
            raise TypeError(f"{dialect.name}: {route.path} names no {{request_id}}")
        if route.verb == "models" and not isinstance(dialect, ModelsDialect):
            raise TypeError(f"{dialect.name}: {route.path} lists models, and the dialect is no ModelsDialect")


def specificity(path: str) -> list[tuple[int, str]]:
    """What paths are sorted by: for each segment whether it is text, text and parameter, or a parameter."""
    return [_generality(segment) for segment in path.strip("/").split("/")]


def _generality(segment: str) -> tuple[int, str]:
    if "{" not in segment:
        return 0, segment
    if ":path}" in segment:
        return 3, ""
    return (2, "") if re.fullmatch(r"\{\w+\}", segment) else (1, segment)


def _written(dialect: WebhookDialect, origin: str) -> WebhookBody:
    return lambda job: dialect.webhook_body(job, origin)


def dialects_in(package: ModuleType) -> list[Dialect]:
    """The dialects among the modules of a package, in the order of the modules' names.

    Raises:
        TypeError: a module's `DIALECT` is not a dialect; the message names the module.
    """
    names = sorted(f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__))
    modules = [import_module(name) for name in names]
    return [_dialect(module) for module in modules if hasattr(module, "DIALECT")]


def _dialect(module: ModuleType) -> Dialect:
    found: object = module.DIALECT
    if isinstance(found, type) or not isinstance(found, Dialect):
        raise TypeError(f"{module.__name__}: DIALECT is {found!r}, which is not a Dialect")
    return found


DIALECTS = Dialects(dialects_in(adapters))
