"""`serl train-offline`, for people who start it by this name."""

import sys

from serl_ray.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train-offline", *sys.argv[1:]]))
