"""The product as people meet it: the whole node as a process, and a real browser in front of it."""
