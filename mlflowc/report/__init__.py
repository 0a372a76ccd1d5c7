"""What a reviewer sees: metrics, parameters and plots as Markdown and HTML."""
