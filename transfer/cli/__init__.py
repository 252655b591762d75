"""The command line: `python -m transfer`."""
