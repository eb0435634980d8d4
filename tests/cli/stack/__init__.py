"""The embedded servers and the supervisor, on real processes."""
