"""The services of the suite; each folder is one, with the same rooms inside."""
