"""Releases: versions of what stages made, as tags, with a model card and a statement of their origin."""
