"""Stands between a node and etcd: etcd_proxy.py ADDRESS ETCD PORT [cut].

cut: of the first watch that tells of events only their first line comes through, then its connection ends; "cut" is written
then. What comes after that is passed on as it is.
"""

import socket
import sys
import threading

address, etcd, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
lock = threading.Lock()
to_cut = sys.argv[4:] == ["cut"]


def take_turn():
    """Whether this watch is the one to be cut."""
    global to_cut
    with lock:
        taken, to_cut = to_cut, False
    return taken


class Connection:
    def __init__(self, client):
        self.client = client
        self.server = socket.create_connection((etcd, port))
        self.is_watch = False
        self.line = bytearray()
        threading.Thread(target=self.requests, daemon=True).start()
        threading.Thread(target=self.answers, daemon=True).start()

    def end(self):
        for one in (self.client, self.server):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def requests(self):
        try:
            while data := self.client.recv(65536):
                self.is_watch = self.is_watch or b"POST /v3/watch" in data
                self.server.sendall(data)
        except OSError:
            pass
        self.end()

    def answers(self):
        try:
            while data := self.server.recv(65536):
                end = self.cut(data) if self.is_watch else None
                self.client.sendall(data[:end])
                if end is not None:
                    print("cut", flush=True)
                    break
        except OSError:
            pass
        self.end()

    def cut(self, data):
        """Where the line ends that is the last one to come through. The chunks around lines end with CR LF, lines without CR."""
        for i, byte in enumerate(data):
            if byte != 10 or self.line[-1:] == b"\r":
                self.line.append(byte)
                continue
            if b'"events"' in self.line and take_turn():
                return i + 1
            self.line.clear()
        return None


listener = socket.create_server((address, port))
print("ready", flush=True)
while True:
    Connection(listener.accept()[0])
