"""SQL, one file for each table or view of it."""
