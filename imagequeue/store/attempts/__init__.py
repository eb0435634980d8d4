"""Statements about attempts, which are tokens: calls, quotas, deployments."""
