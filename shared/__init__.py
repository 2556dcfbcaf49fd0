"""What every service stands on; imports no service (deploy/adr, tests/architecture)."""
