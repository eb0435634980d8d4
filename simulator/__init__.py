"""Simulates the upstream services: strict, observable, faulty on demand. Imports nothing of the product."""
