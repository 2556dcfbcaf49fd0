"""What runs closeloop and what it runs on; importable, because the tests start the same things."""
