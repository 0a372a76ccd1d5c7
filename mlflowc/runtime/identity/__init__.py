"""Short-lived credentials: a CI service's token, shown to a provider. See `mlflowc.ir.identity`."""
