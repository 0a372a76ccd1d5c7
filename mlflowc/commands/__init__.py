"""One module a subcommand; each has one click command named `command`."""
