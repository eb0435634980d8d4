"""What the routes about webhooks answer with, for the documentation of the API.

The routes write their answers by themselves. Times are RFC 3339 in UTC; endpoints have Unix seconds, as
OpenAI's clients expect.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.answer_models import RequestId, Time
from imagequeue.dialects.fields import AnswerFields

Secret = Annotated[str, Field(description="Shown by this answer alone.", examples=["whsec_c2VjcmV0"])]
EndpointId = Annotated[str, Field(examples=["we_019d00000000700080000000000000a1"])]


class WebhookAttempt(AnswerFields):
    """One attempt of a delivery; `response` has the first bytes of what the receiver answered."""

    number: int
    started_at: Time
    latency_ms: int
    http_status: int | None
    outcome: str
    response: str


class WebhookDelivery(AnswerFields):
    """A webhook of a job, with its last attempts."""

    id: str
    webhook_id: str
    url: str
    state: Literal["PENDING", "DELIVERED", "DEAD"]
    attempt_count: int
    next_attempt_at: Time | None
    created_at: Time
    finished_at: Time | None
    attempts: list[WebhookAttempt]


class DeliveryLog(AnswerFields):
    """The webhooks of a job."""

    data: list[WebhookDelivery]


class Redelivery(AnswerFields):
    """How many webhooks of a job are sent again."""

    request_id: RequestId
    redelivered: int


class NewSecret(AnswerFields):
    """The account's new secret, and how long the one before signs beside it."""

    webhook_secret: Secret
    old_secrets_until: Time | None


class RecoveryState(AnswerFields):
    """How far a recovery has come: the webhooks that it redelivers, and those that it passed over."""

    id: str
    state: Literal["RUNNING", "FINISHED"]
    since: Time
    until: Time
    redelivered: int
    skipped: int
    created_at: Time
    finished_at: Time | None


class ShownEndpoint(AnswerFields):
    """Where an account is told of events, whatever the request."""

    id: EndpointId
    object: Literal["webhook_endpoint"]
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]


class ShownEndpointWithSecret(ShownEndpoint):
    """An endpoint whose secret is new."""

    signing_secret: Secret


class EndpointList(AnswerFields):
    """Endpoints, newest first."""

    object: Literal["list"]
    data: list[ShownEndpoint]
    first_id: EndpointId | None
    last_id: EndpointId | None
    has_more: bool


class DeletedEndpoint(AnswerFields):
    """An endpoint that is gone."""

    id: EndpointId
    object: Literal["webhook_endpoint.deleted"]
    deleted: bool


class EventTestResult(AnswerFields):
    """What an endpoint answered to a test event."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: EndpointId
    success: bool
    event_type: str
    status_code: int


class EventTypes(AnswerFields):
    """The events that there are."""

    object: Literal["list"]
    data: list[str]
