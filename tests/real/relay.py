"""A TCP relay that has bad days: it delays, goes silent, cuts, or loses the answer of a COMMIT.

Knows of PostgreSQL's protocol only how a message that commits begins:
<https://www.postgresql.org/docs/current/protocol-message-formats.html>."""

import contextlib
import socket
import threading
import time

_COMMIT = b"COMMIT\x00"


class Relay:
    """127.0.0.1:`port` to 127.0.0.1:`target`. Its days are attributes, changed at any time."""

    def __init__(self, stage, target):
        self.target = target
        self.delay = 0.0  # seconds, of each message of the server
        self.silent = False  # nothing passes, in either direction; connections stay
        self.refusing = False  # new connections are closed at once
        self.losing_commits = False  # COMMIT passes; its answer and the connection are lost
        self.still_at = None  # bytes of a client after which its connection alone goes silent
        self.lost, self.stilled = 0, threading.Event()
        self.lock, self.open = threading.Lock(), set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        stage.closers.append(self.close)

    def url(self, database_url):
        """`database_url` through this relay."""
        head, database = database_url.rsplit("/", 1)
        return f"{head.rsplit(':', 1)[0]}:{self.port}/{database}"

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        self.wait_while_silent()
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 10)
        except OSError:
            client.close()
            return
        pair = Pair(self, client, server)
        with self.lock:
            self.open.add(pair)
        for sides in ((client, server, pair.from_client), (server, client, pair.from_server)):
            threading.Thread(target=pair.carry, args=sides, daemon=True).start()

    def wait_while_silent(self):
        while self.silent:
            time.sleep(0.05)

    def cut(self):
        """Closes what is open."""
        with self.lock:
            pairs = list(self.open)
        for pair in pairs:
            pair.close()

    def away(self):
        """The server is gone: nothing is open, nothing can be opened."""
        self.refusing = True
        self.cut()

    def back(self):
        self.refusing = self.silent = self.losing_commits = False
        self.delay, self.still_at = 0.0, None

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.silent = False
        self.cut()


class Pair:
    """One connection, both ways."""

    def __init__(self, relay, client, server):
        self.relay, self.client, self.server = relay, client, server
        self.losing = self.still = False

    def carry(self, source, sink, through):
        try:
            while data := source.recv(65536):
                self.relay.wait_while_silent()
                if not through(data, sink):
                    break
        except OSError:
            pass
        if self.still:
            return  # as a firewall that drops: nobody hears that it ended
        self.close()

    def from_client(self, data, server):
        if self.still:
            return True
        mark = self.relay.still_at
        if mark and mark in data:
            self.still = True
            self.relay.stilled.set()
        if self.relay.losing_commits and _COMMIT in data.upper():
            self.losing = True
        server.sendall(data)
        return True

    def from_server(self, data, client):
        if self.still:
            return True
        if self.losing:
            self.relay.lost += 1
            return False
        if self.relay.delay:
            time.sleep(self.relay.delay)
            if self.still:
                return True
        client.sendall(data)
        return True

    def close(self):
        with self.relay.lock:
            self.relay.open.discard(self)
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                side.close()
