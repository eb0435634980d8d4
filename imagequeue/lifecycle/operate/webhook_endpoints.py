"""The endpoints of an account: create, change, delete; each in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.webhook_events import MOST_ENDPOINTS, require_event_types
from imagequeue.egress.grammar import check_destination
from imagequeue.lifecycle.operate.accounts import require_name, seal_webhook_secrets
from imagequeue.runtime import Runtime
from imagequeue.signing import new_webhook_secret
from imagequeue.store.database import locks_within
from imagequeue.store.webhook_endpoints import (
    WebhookEndpoint,
    change_endpoint,
    count_endpoints,
    create_endpoint,
    delete_endpoint,
    read_endpoint,
)


@dataclass(frozen=True, slots=True)
class EndpointFields:
    """What a client says of an endpoint; None: it stays as it is."""

    name: str | None = None
    url: str | None = None
    event_types: list[str] | None = None


@dataclass(frozen=True, slots=True)
class IssuedEndpoint:
    """A new endpoint, and its secret, which is shown once."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


def open_endpoint(
    runtime: Runtime, account_id: UUID, fields: EndpointFields, *, lock_seconds: float | None = None
) -> IssuedEndpoint:
    """Make an endpoint with a secret of its own. It is told of events from now on.

    Raises:
        InvalidRequest: a field is missing or wrong, or the account has too many endpoints.
        DestinationRefused: the egress guard does not take the URL.
        LockTimeout: the account was not free within `lock_seconds`.
    """
    if fields.name is None or fields.url is None or fields.event_types is None:
        raise InvalidRequest("name, url and event_types are needed")
    secret = new_webhook_secret()
    row = {
        "name": _name(fields.name),
        "url": fields.url,
        "target": _target(runtime, fields.url),
        "event_types": require_event_types(fields.event_types),
        "webhook_secrets": seal_webhook_secrets(runtime.keyring, [secret]),
    }
    with runtime.engine.begin() as connection, locks_within(connection, lock_seconds):
        if count_endpoints(connection, account_id) >= MOST_ENDPOINTS:
            raise InvalidRequest(f"An account has at most {MOST_ENDPOINTS} endpoints")
        return IssuedEndpoint(create_endpoint(connection, account_id, row), secret)


def update_endpoint(
    runtime: Runtime,
    account_id: UUID,
    endpoint_id: UUID,
    fields: EndpointFields,
    *,
    lock_seconds: float | None = None,
) -> WebhookEndpoint:
    """Change an endpoint. What is in the outbox already goes where it was to go.

    Raises:
        NotFound: the account has no such endpoint.
        InvalidRequest, DestinationRefused, LockTimeout: as `open_endpoint`.
    """
    with runtime.engine.begin() as connection, locks_within(connection, lock_seconds):
        found = read_endpoint(connection, account_id, endpoint_id)
        if found is None:
            raise NotFound
        changed = change_endpoint(connection, _changed(runtime, found, fields))
    if changed is None:
        raise NotFound
    return changed


def close_endpoint(
    runtime: Runtime, account_id: UUID, endpoint_id: UUID, *, lock_seconds: float | None = None
) -> None:
    """Delete an endpoint; what waits for it is not sent any more.

    Raises:
        NotFound: the account has no such endpoint.
        LockTimeout: it was not free within `lock_seconds`.
    """
    with runtime.engine.begin() as connection, locks_within(connection, lock_seconds):
        if not delete_endpoint(connection, account_id, endpoint_id):
            raise NotFound


def _changed(runtime: Runtime, found: WebhookEndpoint, fields: EndpointFields) -> WebhookEndpoint:
    url = found.url if fields.url is None else fields.url
    return replace(
        found,
        name=found.name if fields.name is None else _name(fields.name),
        url=url,
        target=_target(runtime, url),
        event_types=found.event_types
        if fields.event_types is None
        else require_event_types(fields.event_types),
    )


def _name(given: str) -> str:
    require_name(given)
    return given


def _target(runtime: Runtime, url: str) -> str:
    scheme, host, port = check_destination(url, runtime.policy).origin
    return f"{scheme}://{host}:{port}"
