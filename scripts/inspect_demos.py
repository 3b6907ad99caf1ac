"""`serl inspect`, for people who start it by this name."""

import sys

from serl_ray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["inspect", *sys.argv[1:]]))
