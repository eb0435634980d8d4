"""Settle: record what came of an attempt, and end its job together with the hold."""
