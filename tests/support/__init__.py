"""Code that several test folders share, imported as `tests.support.<module>`."""
