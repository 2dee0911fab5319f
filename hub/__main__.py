"""``python -m hub``: the command line, wherever the script is not on the path."""

from hub.cli.app import main

main(prog_name="drehscheibe")
