"""Statements about accounts, wallets and the ledger."""
