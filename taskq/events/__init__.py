"""Publish and subscribe: events to an exchange, and streams of them. Subscriptions are run by the worker."""
