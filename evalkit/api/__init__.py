"""What notebooks and the command line call."""
