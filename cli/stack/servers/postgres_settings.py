"""The settings of the embedded Postgres, for a durable queue on one machine.

fsync, full_page_writes and synchronous_commit keep their defaults (on), so that a commit survives a power
cut.
"""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",  # used page by page, so an idle stack does not take it
    "max_wal_size": "2GB",  # so that checkpoints come by time, not by volume, while a backfill is loaded
    "wal_init_zero": "off",  # else all commits wait (50 ms) while a young server fills a new file of WAL
    "checkpoint_timeout": "10min",
    "random_page_cost": "1.1",  # an index is cheap: the partial indexes of the queue are small
    "jit": "off",  # all statements are short
    "max_parallel_workers_per_gather": "0",  # all statements are short
    "autovacuum_naptime": "10s",  # dead rows slow a claim down (docs/design/pipeline.md, "Tables")
    "autovacuum_vacuum_cost_delay": "0",
    "idle_in_transaction_session_timeout": "60s",  # an open transaction keeps dead rows from being vacuumed
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
