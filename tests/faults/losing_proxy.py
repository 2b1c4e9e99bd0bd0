"""A proxy before Postgres that loses the answers to commits, as a broken network may."""

import contextlib
import random
import select
import socket
import threading
from dataclasses import replace

from testkit.postgres import TestDatabase

COMMIT = b"COMMIT"


class LosingProxy:
    """Carries bytes both ways; now and then a commit is carried there and its answer is not.

    `chance` is how likely that is; 0 loses nothing.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.chance = 0.0
        self.lost = 0
        self._port, self._dice = port, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def before(self, database: TestDatabase) -> TestDatabase:
        """The same database through this proxy, for the role that serves."""
        port = self._listener.getsockname()[1]
        return replace(database, dsn=database.dsn.replace(f":{self._port}/", f":{port}/"))

    def stop(self) -> None:
        """Ends all connections."""
        self._stopped.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.1)
            if not ready:
                continue
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while not self._stopped.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.1)
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    server.sendall(data)
                    if COMMIT in data and self._dice.random() < self.chance:
                        # It is committed when the server has answered; nobody is told.
                        server.recv(65536)
                        self.lost += 1
                        return
