"""``python -m tcglite``: the same as the command ``tcglite``."""

import sys

from .cli import main

sys.exit(main())
