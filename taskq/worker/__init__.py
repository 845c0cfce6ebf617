"""The consumer's side: consume, execute, decide, settle. It never imports the client."""
