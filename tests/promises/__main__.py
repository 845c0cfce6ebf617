"""`python -m tests.promises [TEXT …]`: carry out every mutant, or those whose line has a text in it.

It exits with 1 when one survives: then no test that is named beside it notices that a promise is broken. With `--page`
it writes the page of the promises instead.
"""

from __future__ import annotations

import sys
import time

from tests.promises.mutant import survives
from tests.promises.page import PAGE, page
from tests.promises.table import PROMISES


def main(wanted: list[str]) -> int:
    """Run them one after the other."""
    if wanted == ["--page"]:
        PAGE.write_text(page())
        return 0
    survivors = 0
    for promise in PROMISES:
        for mutant in promise.mutants:
            line = f"{promise.title}: {mutant.breaks}"
            if wanted and not any(text in line for text in wanted):
                continue
            began = time.monotonic()
            said = survives(mutant, {})
            survivors += said is not None
            print(f"{'SURVIVES' if said else 'killed'} ({time.monotonic() - began:.1f} s)  {line}", flush=True)
            print(said or "", end="", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
