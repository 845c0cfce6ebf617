"""``python -m taskq``: the same as the command ``taskq``."""

import sys

from taskq.cli import main

sys.exit(main())
