"""Adapters to the upstream services: two pure functions around one exchange."""
