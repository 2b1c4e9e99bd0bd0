"""The HTTP interface: routes from the protos' annotations, transcoding, problems, OpenAPI."""
