"""`make chaos`: the real stack under faults, and a checker that afterwards believes nobody.

A run starts `imagequeue up` with a catalog of several simulated deployments, an object storage and a receiver
of callbacks that can refuse, clients that repeat what they are not sure of, bad weather at the upstreams, and
every few seconds a fault. When it is over, the checker reads Postgres, the storage, the simulator's own log,
the receiver's log, the stack's logs and the clients' notes, and prints one line for each invariant of
docs/design/pipeline.md, "Invariants", with what it counted.

    make chaos                        # about five minutes, a seed of its own
    make chaos CHAOS_SEED=7 CHAOS_SECONDS=600

The seed decides the faults, the weather and the jobs; the machine decides the rest.
"""
