"""Text to tree and back: AST, parser, parse errors, formatter."""
