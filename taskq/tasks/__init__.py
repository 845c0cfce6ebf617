"""WHAT a call is: tasks, their signatures, policies and bound calls. Pure: no I/O, no broker, no loop."""
