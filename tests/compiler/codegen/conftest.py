"""Makes the helpers of these tests importable."""

import sys
from pathlib import Path

# Tests are imported one by one, without packages: what they share needs a name of its own.
sys.path.insert(0, str(Path(__file__).parent))
