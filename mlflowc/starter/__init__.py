"""The first pipeline file of a project: `mlpipec init`."""
