"""Outgoing requests: which destinations clients may choose, and one total deadline for each request."""

from imagequeue.egress.answers import Download, Receipt
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import Destination, Purpose, check_destination, sole_webhook_url
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.transport import DeadlineTransport, deadline_transport

__all__ = [
    "DeadlineTransport",
    "Destination",
    "Download",
    "EgressError",
    "EgressPolicy",
    "GuardedClient",
    "Limits",
    "Purpose",
    "Receipt",
    "check_destination",
    "deadline_transport",
    "sole_webhook_url",
]
