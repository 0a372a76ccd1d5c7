"""Holding a stage to what it declares: `audit` tells of other files that it touches, `enforce` refuses."""
