"""Names: which declaration each reference means."""
