"""What every service stands on; imports no service (deploy/adr, tests/architecture)."""

import gc

# What is made while a process starts stays to its end. Looking for garbage in it, again and again, was a quarter of the
# start; shared.runtime.loop.settle_heap says what holds afterwards.
gc.set_threshold(100_000, 10, 10)
