"""What a hostile pod does to its resolver, at [fd12::10]:53 of the netns it runs in: hostile.py COMMAND [ARGUMENT...]."""

import ctypes
import os
import random
import resource
import select
import socket
import struct
import sys
import time

SERVER = ("fd12::10", 53)
RESET = struct.pack("ii", 1, 0)
random.seed(1)


def query(name, kind=28):
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    header = struct.pack(">HHHHHH", random.getrandbits(16), 0x0100, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", kind, 1)


def framed(message):
    return struct.pack(">H", len(message)) + message


def garbage():
    """Nothing, noise, or a real query of which some bits are not."""
    choice = random.random()
    if choice < 0.1:
        return b""
    if choice < 0.4:
        return os.urandom(random.randint(1, 3000))
    message = bytearray(query("web.railway.internal"))
    for _ in range(random.randint(1, 8)):
        message[random.randrange(len(message))] = random.getrandbits(8)
    return bytes(message[: random.randint(1, len(message))] if choice < 0.6 else message)


def connect():
    connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(SERVER)
    return connection


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def udp_flood(seconds):
    packets = [garbage() for _ in range(2000)]
    end = time.monotonic() + float(seconds)
    sockets = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(8)]
    for each in sockets:
        each.connect(SERVER)
    while time.monotonic() < end:
        for number, packet in enumerate(packets):
            try:
                sockets[number % 8].send(packet)
            except OSError:
                pass


def tcp_flood(seconds):
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            connection = connect()
            connection.sendall(b"".join(garbage() for _ in range(8)))
            if random.random() < 0.5:
                reset(connection)
            else:
                connection.close()
        except OSError:
            pass


def measure(name, seconds):
    """A query every 20 ms; each must be answered within 1 s. Prints the longest time in milliseconds."""
    end = time.monotonic() + float(seconds)
    worst = 0
    while time.monotonic() < end:
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect(SERVER)
        start = time.monotonic()
        client.send(query(name))
        if not select.select([client], [], [], 1)[0]:
            sys.exit("a query was not answered within 1 s")
        worst = max(worst, time.monotonic() - start)
        client.close()
        time.sleep(0.02)
    print(round(worst * 1000))


def steady(name, kind, seconds, limit=1):
    """A query every 20 ms, answered or not, of that type ("%d" in the name: another name each time). Prints how many were
    answered with NOERROR, how many were not within the limit (1 s), and of the answered ones' times the median, p99 and the longest, in microseconds."""
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.connect(SERVER)
    start = now = time.monotonic()
    asked, times, count = {}, [], 0
    while now < start + float(seconds) or (asked and now < start + float(seconds) + float(limit)):
        due = start + count * 0.02
        if now >= due and now < start + float(seconds):
            message = struct.pack(">H", count) + query(name.replace("%d", str(count)), int(kind))[2:]
            asked[count] = now
            client.send(message)
            count += 1
        if select.select([client], [], [], max(0, min(due - now, 0.02)))[0]:
            answer = client.recv(4096)
            number = struct.unpack(">H", answer[:2])[0]
            now = time.monotonic()
            if number in asked and answer[3] & 15 == 0:
                times.append(now - asked.pop(number))
        now = time.monotonic()
    in_time = sorted(round(t * 1e6) for t in times if t <= float(limit))
    part = lambda p: in_time[min(len(in_time) - 1, int(len(in_time) * p))] if in_time else 0
    print(len(in_time), count - len(in_time), part(0.5), part(0.99), part(1))


def prefixes(name):
    """Every part of a message, and then the end or a reset. The resolver must hang up on each by itself."""
    message = framed(query(name))
    for size in range(len(message)):
        connection = connect()
        connection.sendall(message[:size])
        connection.shutdown(socket.SHUT_WR)
        try:
            assert connection.recv(1) == b"", size
        except ConnectionResetError:
            pass
        connection.close()
        connection = connect()
        connection.sendall(message[:size])
        reset(connection)


def unread(name, connections):
    """500 queries a connection, whose answers nobody takes. Waits for the end of its input, still not taking them."""
    held = []
    for _ in range(int(connections)):
        connection = connect()
        connection.setblocking(False)
        try:
            connection.send(framed(query(name)) * 500)
        except OSError:
            pass
        held.append(connection)
    print("held", flush=True)
    sys.stdin.read()


def receive(connection):
    """A message, or b"" at the end; its length must be right."""
    head = b""
    while len(head) < 2 or len(head) < 2 + struct.unpack(">H", head[:2])[0]:
        part = connection.recv(65537)
        if not part:
            assert not head, "the end came within a message"
            return b""
        head += part
    return head[2:]


def half_close(*names):
    """Asks for all names on one connection, says that this was all, and prints how many answers come before the end."""
    connection = connect()
    connection.sendall(b"".join(framed(query(name, 1)) for name in names))
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(10)
    data = b""
    while part := connection.recv(65536):
        data += part
    count = 0
    while data:
        data = data[2 + struct.unpack(">H", data[:2])[0] :]
        count += 1
    print(count)


def oversize(name):
    """A query that waits for its answer, and behind it a message of 4,000 bytes: the answer comes, and then the end."""
    connection = connect()
    connection.settimeout(10)
    connection.sendall(framed(query(name, 1)) + struct.pack(">H", 4000) + b"x" * 40)
    print(len(receive(connection)) > 12, receive(connection) == b"")


def keep_asking(name, slow, marker):
    """On one connection asks for a name that is not there until the connection ends; on another one a slow question. Prints
    "held" when both are in use, then what came of each. "stale": it was not there when the file marker was."""
    idle, busy = connect(), connect()
    busy.settimeout(10)
    busy.sendall(framed(query(slow, 1)))
    outcome = "end"
    for count in range(1000):
        was_marked = os.path.exists(marker)
        idle.sendall(framed(query(name)))
        answer = receive(idle)
        if not answer:
            break
        if was_marked and answer[3] & 15 == 3:
            outcome = "stale"
        if count == 0:
            print("held", flush=True)
        if select.select([idle], [], [], 0.05)[0]:
            assert not receive(idle)
            break
    else:
        outcome = "endless"
    print(outcome, flush=True)
    first = receive(busy)
    print("answer" if first else "none", "end" if not receive(busy) else "more", flush=True)


def idle(name):
    """A connection that was used once: waits for its end."""
    connection = connect()
    connection.sendall(framed(query(name)))
    assert receive(connection)
    connection.settimeout(15)
    print("held", flush=True)
    try:
        assert not receive(connection)
    except ConnectionResetError:
        pass
    print("end", flush=True)


def enter(pod):
    with open("/run/netns/" + pod, "rb") as netns:
        if ctypes.CDLL(None, use_errno=True).setns(netns.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns " + pod)


def hold(*pods):
    """As many connections of each pod as there may be, with half a length on each, until the end of the input."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    held = []
    for pod in pods:
        enter(pod)
        for _ in range(32):
            held.append(connect())
            held[-1].sendall(b"\0")
    print("held", flush=True)
    sys.stdin.read()


def ask(name, seconds, *pods):
    """From each pod, always as many queries for names that are elsewhere as it may have on their way."""
    end = time.monotonic() + float(seconds)
    sockets = []
    for pod in pods:
        enter(pod)
        sockets.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sockets[-1].connect(SERVER)
        sockets[-1].setblocking(False)
    number = 0
    while time.monotonic() < end:
        for each in sockets:
            for _ in range(64):
                number += 1
                try:
                    each.send(query("q%d.%s" % (number, name), 1))
                except OSError:
                    pass
        if number >= 256 * len(sockets):
            print("asked", flush=True)
            time.sleep(0.02)


def names(suffix, kind, seconds):
    """Other names below a suffix all the time, as fast as they can be sent."""
    end = time.monotonic() + float(seconds)
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.connect(SERVER)
    while time.monotonic() < end:
        for _ in range(64):
            try:
                client.send(query("n%x.%s" % (random.getrandbits(64), suffix), int(kind)))
            except OSError:
                pass


def queue(count, name):
    """So many queries, for a resolver that is stopped."""
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.connect(SERVER)
    for _ in range(int(count)):
        client.send(query(name))


def send(name):
    """One query, whatever comes of it."""
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.connect(SERVER)
    client.send(query(name))


def lock(path):
    """Holds the lock of a store's writers until the end of its input."""
    import fcntl

    with open(path, "r+b") as file:
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, 38, whole)  # F_OFD_SETLKW
        print("locked", flush=True)
        sys.stdin.read()


globals()[sys.argv[1]](*sys.argv[2:])
