"""What runs: consumer loop, outbox relay, durable timers, feeds for event streams, supervisor."""
