"""How fast taskq is, beside what it is built on. Run it with ``make bench``."""
