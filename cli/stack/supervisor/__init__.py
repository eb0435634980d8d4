"""Starts processes, keeps them running, and stops them; knows nothing of imagequeue."""
