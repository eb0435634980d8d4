"""The whole stack under one supervisor: embedded Postgres and Redis, and the processes of imagequeue."""
