"""`python -m serl_ray.cli` is `serl`."""

from __future__ import annotations

import sys

from serl_ray.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
