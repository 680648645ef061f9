"""A nameserver for tests: fake_dns.py ADDRESS PORT ANSWER [SUFFIX=ANSWER...] answers every A question with ANSWER, or that of
the first suffix that the name has (an empty one: no such name), over UDP and TCP. ADDRESS may be ::, for IPv4 too."""

import socket
import socketserver
import struct
import sys
import threading

address, port, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
suffixes = dict(argument.split("=") for argument in sys.argv[4:])


def answer_for(name):
    return next((a for suffix, a in suffixes.items() if name.endswith(suffix)), answer)


def respond(query):
    end = 12
    labels = []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].decode().lower())
        end += query[end] + 1
    name = ".".join(labels)
    question = query[12 : end + 5]
    kind = struct.unpack(">H", question[-4:-2])[0]
    records = b""
    found = answer_for(name)
    if kind == 1 and found:
        records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(found)
    header = query[:2] + struct.pack(">HHHHH", 0x8180 if found else 0x8183, 1, 1 if records else 0, 0, 0)
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
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET


class UdpServer(socketserver.UDPServer):
    address_family = TcpServer.address_family


threading.Thread(target=TcpServer((address, port), Tcp).serve_forever, daemon=True).start()
UdpServer((address, port), Udp).serve_forever()
