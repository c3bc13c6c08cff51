"""Model-written programs, run so that they can harm nothing and fake nothing."""

from evalkit.sandbox.checker import Checker
from evalkit.sandbox.verdict import LABELS, Problem, Verdict

__all__ = ["LABELS", "Checker", "Problem", "Verdict"]
