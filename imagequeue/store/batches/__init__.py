"""Files of clients, batches, their lines and what counts them."""
