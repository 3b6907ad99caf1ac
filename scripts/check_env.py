"""`serl check-env`, for people who start it by this name."""

import sys

from serl_ray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["check-env", *sys.argv[1:]]))
