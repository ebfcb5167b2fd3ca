"""`python -m distributor` is the same program as `distribute`."""

from distributor.cli.main import main

if __name__ == "__main__":
    main()
