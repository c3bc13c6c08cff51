"""A run's files: written once, read again (this schema, the former ones, lm-eval's own), checked, exported."""
