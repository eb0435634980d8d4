"""Redis: where it is, a client for it, and what is refused at the start of a process."""
