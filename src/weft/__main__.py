"""`python -m weft` is the `weft` command."""

import sys

from .cli import main

sys.exit(main())
