"""Fuzzers for what arrives from others: `python -m tests.fuzz wire --seconds 600 --seed 1`, and `… plane …`.

Every execution has a number and draws from `Random("seed:number")` alone, so that a seed always tries the same inputs
in the same order, and one of them can be run again by its number. The few seconds of each that `make test` runs are in
`test_fuzzers.py`.
"""
