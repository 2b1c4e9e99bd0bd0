"""What all services stand on: server, identity, database, migrations, streams, settings, logs.

Impure and shared. A service imports the modules by name (`from chassis.server import
build_server`); nothing here knows any one service.
"""
