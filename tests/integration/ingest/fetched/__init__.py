"""What deliveries only name, and what pollers ask for: fetched from a server that behaves like the vendor's."""
