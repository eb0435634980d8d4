"""The whole stack, as `imagequeue up` runs it."""
