"""The gateway's own gRPC services."""
