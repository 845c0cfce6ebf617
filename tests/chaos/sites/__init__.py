"""The brokers that are broken, each with the ways to it."""
