"""Use cases of routing: what comes in, what agents do, who is there, what waits."""
