"""What tests share: Postgres for a session, servers on free ports, clocks."""
