"""Generators of CI files. Each module satisfies `mlflowc.target.Backend`."""
