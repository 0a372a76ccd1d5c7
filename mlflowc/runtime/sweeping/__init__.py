"""Sweeps at run time: which trials there are, running each apart from the others, and what comes of them."""
