"""Conda environments: what an environment file asks for, which tool resolves and makes it."""
