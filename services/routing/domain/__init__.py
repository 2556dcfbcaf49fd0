"""Pure rules of routing: business hours, priority, who is eligible, what needs an answer. No I/O."""
