"""What operators do: accounts, keys, funds, reports, catalog reloads."""
