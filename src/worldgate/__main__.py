"""``python -m worldgate`` is the program ``worldgate``."""

import sys

from worldgate.cli import main

sys.exit(main())
