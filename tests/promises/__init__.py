"""What taskq promises, and for each promise a way to break the code and the tests that notice it.

``table`` has the promises, each with its *mutants*: a change of a line or two of taskq that breaks it. A mutant is
*killed* when a test that is named beside it fails. ``mutant`` makes the change in a copy of the checkout and runs the
tests there; the checkout itself is never changed. `python -m tests.promises` does it for all of them.
"""
