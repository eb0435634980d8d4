"""Operate: what operators do with accounts, keys and funds, reports on deployments, catalog reloads."""
