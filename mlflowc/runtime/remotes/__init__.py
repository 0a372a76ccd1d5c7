"""Results shared through a folder, a bucket or a server: `docs/remotes.md`."""
