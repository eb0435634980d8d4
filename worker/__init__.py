"""The Celery and dispatcher processes: the only place that knows Celery."""
