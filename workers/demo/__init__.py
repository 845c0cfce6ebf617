"""The demonstration behind ``make demo``: two real workers on one SQLite file, and real work on real files."""
