"""A hostile client beside the load, and what it sends; the tests of the API send the same."""
