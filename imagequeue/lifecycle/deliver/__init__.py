"""Deliver: send webhooks, and record each delivery attempt."""
