"""`imagequeue demo`: the whole stack, seen through a client's eyes."""
