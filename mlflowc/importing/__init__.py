"""Projects that already have a pipeline or CI: what they say, as a `.mlpipe` file that does the same."""
