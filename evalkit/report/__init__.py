"""Tables and reports from finished runs and published baselines; imports neither torch nor lm_eval."""
