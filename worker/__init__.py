"""The worker and dispatcher processes: their loops, and all that is Celery's."""
