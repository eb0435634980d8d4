"""`make chaos`: the real stack under faults, and a checker that judges by records alone.

A run starts `imagequeue up` with a catalog of several simulated deployments, an object storage and a receiver
of webhooks that can refuse, clients that repeat a request without an answer, a backfill whose command line is
killed again and again, faulty weather at the upstreams,
and every few seconds a fault of our own. Afterwards the checker reads Postgres, the storage, the logs of the
simulator, the receiver and the stack, and the clients' notes, and prints one line for each invariant of
docs/design/pipeline.md, "Invariants", with what it counted.

    make chaos                        # with any seed; how long it takes, docs/reliability.md says
    make chaos CHAOS_SEED=7 CHAOS_SECONDS=600 CHAOS_LINES=300

The seed decides the faults, the weather and the jobs; when they meet is up to the machine.
"""
