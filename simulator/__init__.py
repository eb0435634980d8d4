"""The upstream services, simulated: strict, observable, faulty on demand. Imports nothing of the rest."""
