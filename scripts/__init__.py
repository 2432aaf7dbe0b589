"""Every script is a module too, ``python -m scripts.evaluate``: it finds its `_setup` as when it is run by its path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
