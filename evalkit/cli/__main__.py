"""``python -m evalkit.cli``: the same as ``evalkit``."""

from evalkit.cli import main

main()
