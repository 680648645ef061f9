"""A node and its pods for tests that break them: a runtime that executes plugins, and all that an attachment could leave behind, in one
value that can be compared. Runs inside test/lib/isolate.bash; BIN and TOOLS name the built programs.
"""

import ctypes
import glob
import json
import os
import socket
import struct
import subprocess
import sys
import time

BIN = os.environ["BIN"]
TOOLS = os.environ["TOOLS"]
DIRECTORY = "/run/node"
LIBC = ctypes.CDLL(None, use_errno=True)
NETLINK_ROUTE = 0
RESOLVER = ("fd12::10", 53)


def attributes(data):
    """Netlink's, as a list of (type, bytes)."""
    found = []
    while len(data) >= 4:
        size, kind = struct.unpack_from("HH", data)
        found.append((kind & 0x3FFF, data[4:size]))
        data = data[(size + 3) & ~3 :]
    return found


class Netns:
    """A netns that is looked into from outside: by sockets that were made in it."""

    def __init__(self, name):
        self.name = name
        self.path = "/run/netns/" + name
        if not os.path.exists(self.path):
            subprocess.run(["ip", "netns", "add", name], check=True)
        with open("/proc/self/ns/net", "rb") as own, open(self.path, "rb") as entered:
            self.enter(entered)
            try:
                self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
                self.netlink.bind((0, 0))
                self.dns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                self.dns.settimeout(5)
            finally:
                self.enter(own)

    @staticmethod
    def enter(netns):
        if LIBC.setns(netns.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def dump(self, request, header_size, dropped):
        """All of a kind, each as a string, without the attributes that change by themselves."""
        body = struct.pack("B15x", socket.AF_INET6) if header_size != 12 else struct.pack("B11x", socket.AF_INET6)
        message = struct.pack("IHHII", 16 + len(body), request, 0x301, 1, 0) + body
        self.netlink.send(message)
        found = []
        while True:
            data = self.netlink.recv(1 << 20)
            while data:
                size, kind = struct.unpack_from("IH", data)
                if kind == 3:
                    return sorted(found)
                payload = data[16:size]
                kept = [(kind, value.hex()) for kind, value in attributes(payload[header_size:]) if kind not in dropped]
                found.append("%d %s %s" % (request, payload[:header_size].hex(), kept))
                data = data[(size + 3) & ~3 :]

    def links(self):
        body = struct.pack("16x")
        self.netlink.send(struct.pack("IHHII", 16 + len(body), 18, 0x301, 1, 0) + body)
        found = []
        while True:
            data = self.netlink.recv(1 << 20)
            while data:
                size, kind = struct.unpack_from("IH", data)
                if kind == 3:
                    return sorted(found)
                index, flags = struct.unpack_from("ii", data, 16 + 4)[0:2]
                names = [value.rstrip(b"\0").decode() for kind, value in attributes(data[32:size]) if kind in (3, 20)]
                found.append("link %d %x %s" % (index, flags, names))
                data = data[(size + 3) & ~3 :]

    def content(self):
        """Links with their aliases, addresses, rules, and the routes of every table."""
        found = self.links()
        found += self.dump(22, 8, (6,))  # RTM_GETADDR without IFA_CACHEINFO
        found += self.dump(34, 12, ())  # RTM_GETRULE
        found += self.dump(26, 12, (12,))  # RTM_GETROUTE without RTA_CACHEINFO
        # Each kernel has a default number for loopback's own routes; multicast entries come and go with listeners.
        return found

    def ask(self, name, kind):
        """The answers to a question that the pod asks its resolver; None where nobody answers."""
        query = os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0)
        query += b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
        query += struct.pack(">HH", kind, 1)
        try:
            self.dns.sendto(query, RESOLVER)
            while True:
                answer = self.dns.recv(4096)
                if answer[:2] == query[:2]:
                    break
        except OSError:
            return None
        found = []
        position = len(query)
        for _ in range(struct.unpack_from(">H", answer, 6)[0]):
            size = struct.unpack_from(">H", answer, position + 10)[0]
            found.append(answer[position + 12 : position + 12 + size].hex())
            position += 12 + size
        return ["rcode %d" % (answer[3] & 15)] + sorted(found)


def peers():
    """Each WireGuard device's peers: by wireguard-go's sockets, and of kernel devices as wg shows them."""
    found = {}
    for path in sorted(glob.glob("/var/run/wireguard/*.sock")):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        try:
            connection.connect(path)
            connection.sendall(b"get=1\n\n")
            text = b""
            while not text.endswith(b"\n\n"):
                part = connection.recv(65536)
                if not part:
                    break
                text += part
        except OSError as error:
            text = b"public_key=" + str(error).encode()
        connection.close()
        lines = text.decode().split("\n")
        kept = [line for line in lines if line.startswith(("public_key", "allowed_ip", "endpoint"))]
        found[path] = "|".join(kept).replace("|public_key", "\npublic_key").split("\n")
        found[path].sort()
    for path in sorted(glob.glob("/run/netns/*")):
        if found:
            break
        run = subprocess.run(["nsenter", "--net=" + path, "wg", "show", "all", "allowed-ips"], capture_output=True, text=True)
        found[path] = sorted(run.stdout.split("\n"))
    return found


def processes():
    """What runs of the suite: (name, number) without those that have ended."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        if text[text.rindex(")") + 2] in "ZX" or not name.startswith(("wireguard-go", "railway-")):
            continue
        found.append((name, int(text.split(" ", 1)[0])))
    return sorted(found)


def descriptors(pid):
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return -1


def environment_of(container, netns, command, more=None):
    return {
        "PATH": os.environ["PATH"],
        "CNI_COMMAND": command,
        "CNI_PATH": BIN,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", ""),
        "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", ""),
        **(more or {}),
    }


class Outcome:
    def __init__(self, plugin, command, status, output, errors):
        self.plugin, self.command, self.status = plugin, command, status
        self.output, self.errors = output, errors
        self.document = None
        try:
            self.document = json.loads(output)
        except ValueError:
            pass

    def __str__(self):
        return "%s %s: status %s, printed %r, on standard error %r" % (
            self.plugin, self.command, self.status, self.output[:400], self.errors[:1500])

    def fault(self, output_failed=False):
        """What a runtime could not live with; None where all is as the specification says."""
        if self.status == 0:
            good = isinstance(self.document, dict) if self.command == "ADD" else self.output == ""
            return None if good else "success without a result: " + str(self)
        if output_failed:
            return None if self.status == 1 else str(self)
        document = self.document
        if self.status != 1 or not isinstance(document, dict):
            return "no CNI error: " + str(self)
        if not (isinstance(document.get("code"), int) and document["code"] > 0 and document.get("msg")
                and isinstance(document["msg"], str) and isinstance(document.get("cniVersion"), str)):
            return "no valid CNI error: " + str(self)
        return None


class Pod:
    """A container of an environment and a service, and the network configuration list that it gets."""

    def __init__(self, name, environment, service, shape="chain"):
        self.name = name
        self.netns = Netns(name)
        shared = {"cniVersion": "1.0.0", "name": "railway", "environment": environment, "service": service}
        ipam, mesh = {"type": "railway-ipam"}, {"type": "railway-mesh"}
        if shape == "chain":
            mesh["ipam"] = {"type": "railway-ipam"}
        plugins = [mesh, {"type": "railway-dns"}] if shape == "chain" else [ipam, mesh, {"type": "railway-dns"}]
        self.plugins = [{**plugin, **shared} for plugin in plugins]

    def execute(self, number, command, previous=None, before=(), more=None, timeout=60):
        """One plugin; before: a command that runs it."""
        configuration = dict(self.plugins[number])
        if previous is not None:
            configuration["prevResult"] = previous
        program = os.path.join(BIN, configuration["type"])
        run = subprocess.run(
            [*before, program], input=json.dumps(configuration), capture_output=True, text=True, timeout=timeout,
            env=environment_of(self.name, self.netns.path, command, more))
        return Outcome(configuration["type"], command, run.returncode, run.stdout, run.stderr)

    def add(self, first=0, previous=None):
        """The list from a plugin on; the last outcome."""
        outcome = None
        for number in range(first, len(self.plugins)):
            outcome = self.execute(number, "ADD", previous)
            if outcome.status != 0:
                return outcome
            previous = outcome.document
        return outcome

    def delete(self, first=None):
        outcome = None
        for number in range(len(self.plugins) - 1 if first is None else first, -1, -1):
            outcome = self.execute(number, "DEL")
            if outcome.status != 0:
                return outcome
        return outcome


class Node:
    def __init__(self):
        os.makedirs(DIRECTORY, exist_ok=True)
        self.resolver = None
        self.siblings = []

    def start_resolver(self):
        read, write = os.pipe()
        with open(DIRECTORY + "/resolver.log", "ab") as log:
            self.resolver = subprocess.Popen(
                [BIN + "/railway-resolverd", "--ready-fd", str(write)], pass_fds=[write], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        os.close(write)
        ready = os.read(read, 1)
        os.close(read)
        if not ready:
            with open(DIRECTORY + "/resolver.log") as log:
                sys.exit("railway-resolverd did not start: " + log.read())

    def add_siblings(self, *pods):
        for name, environment, service in pods:
            pod = Pod(name, environment, service)
            outcome = pod.add()
            if outcome.status != 0:
                sys.exit("a pod cannot be made: " + str(outcome))
            self.siblings.append(pod)

    def content(self, pods=()):
        """All that an attachment could have left on the node, but for what lives on in the given pods."""
        stores = subprocess.run([TOOLS + "/faults/contents", "/var/lib/railway", "/run/railway"], capture_output=True, text=True)
        found = {
            "stores": sorted(stores.stdout.split("\n")) + [stores.stderr],
            "peers": peers(),
            "sockets": sorted(os.listdir("/var/run/wireguard")) if os.path.exists("/var/run/wireguard") else [],
            "host": sorted(os.listdir("/sys/class/net")),
            "locks": sorted(os.listdir("/run/railway/locks")),
        }
        running = processes()
        found["processes"] = running
        found["descriptors"] = [descriptors(pid) for name, pid in running if name == "railway-resolv"]
        for pod in [*self.siblings, *pods]:
            found["netns " + pod.name] = pod.netns.content()
        for pod in self.siblings:
            for question in (("api.railway.internal", 28), ("web.railway.internal", 28), ("_replicas.api.railway.internal", 16)):
                found["%s asks for %s" % (pod.name, question[0])] = pod.netns.ask(*question)
        return found

    def difference(self, wanted, pods=(), patience=10):
        """What is not as it was before; "" as soon as nothing is. What a process that was killed has started ends by itself, but
        not at once."""
        end = time.monotonic() + patience
        while True:
            now = self.content(pods)
            if now == wanted:
                return ""
            if time.monotonic() >= end:
                return describe(wanted, now)
            time.sleep(0.02)


def describe(wanted, now):
    lines = []
    for part in wanted:
        if wanted[part] == now.get(part):
            continue
        before = wanted[part] if isinstance(wanted[part], list) else [wanted[part]]
        after = now.get(part) if isinstance(now.get(part), list) else [now.get(part)]
        lines += ["%s: gone: %s" % (part, entry) for entry in before if entry not in after]
        lines += ["%s: left: %s" % (part, entry) for entry in after if entry not in before]
    return "\n".join("    " + line[:600] for line in lines)
