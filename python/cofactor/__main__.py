"""`python -m cofactor`."""

from cofactor.cli import main

if __name__ == "__main__":
    main()
