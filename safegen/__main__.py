"""Run the command line as `python -m safegen`."""

from safegen.cli.main import main

if __name__ == "__main__":
    main()
