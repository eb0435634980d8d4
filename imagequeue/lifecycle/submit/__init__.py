"""Submit: turn clients' requests into jobs that are priced, paid by a hold, and QUEUED."""
