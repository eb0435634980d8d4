"""What an attempt came to, and the end of a job with its hold."""
