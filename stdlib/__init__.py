"""The standard library of the language: `.mlpipe` files."""
