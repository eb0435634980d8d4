"""The Celery app. Its messages are doorbells: each carries an id, and may be lost, doubled or late.

Every option has its reason in docs/design/pipeline.md, "Celery".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu import Exchange, Queue

from imagequeue.redis_server.address import RedisAddress
from worker.names import GENERATE_QUEUES


def make_app(address: RedisAddress) -> Celery:
    """Make the app of this process, whose broker is the Redis at `address`.

    Each queue has an exchange of its own: on one that they share, Celery's default key would bind them all.
    """
    app = Celery("imagequeue", broker=_url(address), set_as_current=False, fixups=[])
    app.conf.update(OPTIONS)
    app.conf.broker_transport_options = BROKER | {"global_keyprefix": address.prefix}
    app.conf.broker_use_ssl = False if address.tls is None else dict(address.tls)
    app.conf.task_queues = [
        Queue(name, Exchange(name), routing_key=name) for name in GENERATE_QUEUES.values()
    ]
    return app


def _url(address: RedisAddress) -> str:
    """The address as Kombu reads it; what it is told about TLS does not stand in the URL."""
    login = quote(address.username or "", safe="")
    if address.password is not None:
        login += f":{quote(address.password, safe='')}"
    login += "@" if login else ""
    if address.socket:
        return f"redis+socket://{login}{quote(address.socket)}?virtual_host={address.db}"
    host = f"[{address.host}]" if ":" in address.host else quote(address.host, safe="")
    scheme = "redis" if address.tls is None else "rediss"
    return f"{scheme}://{login}{host}:{address.port}/{address.db}"


BROKER: dict[str, Any] = {
    "ack_emulation": False,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 10,
    "retry_on_timeout": False,
}

OPTIONS: dict[str, Any] = {
    "broker_transport": "worker.broker:Transport",
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_create_missing_queues": False,
    "task_acks_late": True,
    "task_acks_on_failure_or_timeout": True,
    "task_ignore_result": True,
    "task_publish_retry": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_backend": None,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": False,
    "worker_send_task_events": False,
    "worker_enable_remote_control": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_disable_rate_limits": True,
}
