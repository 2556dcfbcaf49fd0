"""HTTP in: app factory, problem+json, health, keys, event streams. HTTP out: the client with the address wall."""
