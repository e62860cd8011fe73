"""``python -m osmia``."""

import sys

from osmia.cli.main import main

sys.exit(main())
