"""The service's methods: each translates and decides nothing."""
