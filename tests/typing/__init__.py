"""Read by mypy and pyright, never run.

`assert_type(…)` states what must hold. A line that must be refused carries `# type: ignore[code]` for mypy
and `# pyright: ignore[rule]` for pyright; both report an ignore that hides nothing, so each such line is a
test.
"""
