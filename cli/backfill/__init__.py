"""`imagequeue backfill`: from a file of prompts to a folder of images, through `/v2/batches`."""
