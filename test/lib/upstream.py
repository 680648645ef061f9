"""An upstream nameserver that does what a name says: upstream.py ADDRESS PORT ANSWER LOG.

Every question is written to LOG ("A slow.example.com"). A labels of the name, from the left:
  slow         the answer takes a second          ttl-N        the TTL of its records (600)
  nx-N         NXDOMAIN with a SOA of MINIMUM N   none-N       no records, with such a SOA
  bare         NXDOMAIN without a SOA             fail         SERVFAIL
  late         the answer takes two and a half seconds, over TCP there is none
  tc           over UDP an answer that is truncated; over TCP one of 3,000 bytes, or of N with
  tc-N         "tc-N"; TCP is served for all names
  poison       an answer with rail-crash-abort in it, which ends a build for tests (pkg/base/pause.h)
  silent       no answer at all                   lie          before the answer, some that answer
                                                               other questions or bear other IDs
"""

import socket
import struct
import sys
import threading
import time

address, port, answer, log = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# SO_RCVBUFFORCE: a burst must not be lost here.
sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
sock.bind((address, port))
log = open(log, "a", buffering=1)
KINDS = {1: "A", 12: "PTR", 16: "TXT", 28: "AAAA"}


def message(identifier, rcode, question, answers=b"", authority=b""):
    return (
        identifier
        + struct.pack(">HHHHH", 0x8180 | rcode, 1, 1 if answers else 0, 1 if authority else 0, 0)
        + question
        + answers
        + authority
    )


def respond(query, send, tcp=False):
    labels, position = [], 12
    while query[position]:
        size = query[position]
        labels.append(query[position + 1 : position + 1 + size].decode("latin-1").lower())
        position += size + 1
    question = query[12 : position + 5]
    kind = struct.unpack(">H", question[-4:-2])[0]
    log.write(f"{KINDS.get(kind, kind)} {'.'.join(labels)}\n")
    rcode, records, soa, ttl, truncated, size = 0, True, None, 600, 0, 0
    for label in labels:
        word, _, number = label.partition("-")
        if word == "slow":
            time.sleep(1)
        elif word == "late" and tcp:
            return
        elif word == "late":
            time.sleep(2.5)
        elif word == "ttl":
            ttl = int(number)
        elif word in ("nx", "none"):
            rcode, records, soa = (3 if word == "nx" else 0), False, int(number)
        elif word == "bare":
            rcode, records = 3, False
        elif word == "fail":
            rcode, records = 2, False
        elif word == "tc" and tcp:
            size = int(number or 3000)
        elif word == "tc":
            truncated = 0x200
        elif word == "silent":
            return
        elif word == "lie":
            wrong = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.66")
            other = b"\x04evil\x07example\x03com\x00" + question[-4:]
            for identifier, asked in ((bytes([query[0] ^ 1]) + query[1:2], question), (query[:2], other)):
                send(message(identifier, 0, asked, wrong))
            stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            send(message(query[:2], 0, question, wrong), stranger)
    answers = authority = b""
    if records and kind == 1:
        answers = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, ttl, 4) + socket.inet_aton(answer)
    if size:
        texts = b"".join(bytes([n]) + b"t" * n for n in [255] * (size // 256) + [size % 256])
        answers = b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, ttl, len(texts)) + texts
    if "poison" in labels:
        answers = b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, ttl, 17) + b"\x10rail-crash-abort"
    if soa is not None:
        data = b"\0\0" + struct.pack(">IIIII", 1, 2, 3, 4, soa)
        authority = b"\xc0\x0c" + struct.pack(">HHIH", 6, 1, 600, len(data)) + data
    send(message(query[:2], rcode | truncated, question, answers, authority))


def serve_connection(connection):
    with connection, connection.makefile("rb") as stream:
        while len(size := stream.read(2)) == 2:
            respond(stream.read(struct.unpack(">H", size)[0]), lambda m: connection.sendall(struct.pack(">H", len(m)) + m), True)


def serve_tcp():
    listener = socket.create_server((address, port))
    while True:
        threading.Thread(target=serve_connection, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=serve_tcp, daemon=True).start()
while True:
    data, client = sock.recvfrom(4096)
    threading.Thread(target=respond, args=(data, lambda m, by=sock, to=client: by.sendto(m, to)), daemon=True).start()
