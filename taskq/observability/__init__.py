"""Making the life of jobs visible. It listens to lifecycle events; nothing else in taskq words a log line."""
