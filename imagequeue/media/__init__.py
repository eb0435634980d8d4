"""Images as files: checking and converting them, and the storage that holds them."""
