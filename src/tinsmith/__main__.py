"""Run the command line: python -m tinsmith."""

from tinsmith.cli import main

main()
