"""``python -m evalkit.cli``: the same as ``evalkit``."""

from evalkit.cli.commands import main

main()
