"""The settings of the embedded Postgres: those that a durable queue on one machine wants.

fsync, full_page_writes and synchronous_commit stay at their defaults, on: what was acknowledged survives a
power cut.
"""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",  # touched page by page, so an idle stack does not use it
    "max_wal_size": "2GB",  # checkpoints by time, not by volume, while a backfill is loaded
    "checkpoint_timeout": "10min",
    "random_page_cost": "1.1",  # the index, also on a big table: the queue's partial indexes are small
    "jit": "off",  # short statements only
    "max_parallel_workers_per_gather": "0",  # likewise
    "autovacuum_naptime": "10s",  # dead rows slow a claim (docs: pipeline, tables)
    "autovacuum_vacuum_cost_delay": "0",
    "idle_in_transaction_session_timeout": "60s",  # nobody pins dead rows for longer
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
