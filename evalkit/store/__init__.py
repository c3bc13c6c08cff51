"""Scores and completions that survive kill -9, and are never those of something else."""
