"""The upstream services, simulated strictly. Imports nothing of the rest."""
