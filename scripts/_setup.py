"""First import of every script: passive OpenMP threads before torch is loaded, and the repository first on the path."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # before other packages of our names, wherever else on the path it stands
