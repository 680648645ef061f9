"""An upstream nameserver for tests: fake_dns.py ADDRESS PORT ANSWER answers every A question with ANSWER, over UDP and TCP."""

import socket
import socketserver
import struct
import sys
import threading

address, port, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def respond(query):
    end = 12
    while query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    kind = struct.unpack(">H", question[-4:-2])[0]
    records = b""
    if kind == 1:
        records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(answer)
    header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if records else 0, 0, 0)
    return header + question + records


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(respond(data), self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        size = self.rfile.read(2)
        if len(size) == 2:
            reply = respond(self.rfile.read(struct.unpack(">H", size)[0]))
            self.wfile.write(struct.pack(">H", len(reply)) + reply)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True



threading.Thread(target=TcpServer((address, port), Tcp).serve_forever, daemon=True).start()
socketserver.UDPServer((address, port), Udp).serve_forever()
