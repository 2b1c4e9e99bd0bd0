"""Pure rules of the gateway: paths, quotas, credentials."""
