"""Event to job graph, neutral of any CI service."""
