"""Deletes what the retention time no longer keeps."""
