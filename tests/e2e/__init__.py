"""Generated files, run by real executors."""
