"""The producer's side: from a bound call to a confirmed job, and from a reply to a result."""
