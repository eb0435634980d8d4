"""Retention: delete images, prompts, events and attempts of jobs whose retention time is over."""
