"""Hostile programs, and what must not happen to the things around them."""
