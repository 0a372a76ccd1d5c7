"""mlpipec: one file describes an ML project; checked, cached and run alike everywhere."""

__version__ = "0.1.0"
