"""evalkit: the five suites of the Hermes model cards, faithfully, fast, and with error bars."""

__version__ = "0.1.0"
