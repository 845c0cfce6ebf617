"""Looking at what lies in the broker: queues and dead letters."""
