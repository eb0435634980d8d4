"""`imagequeue demo`: starts a whole stack and uses it as a client does."""
