"""From a client's request to a durable, paid-for job."""
