"""Types and rules: what must hold before anything runs."""
