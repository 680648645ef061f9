"""kill -9 of ADD and of DEL at random moments, in several environments at once, with the resolver killed now and then.

storm.py KILLS [--seed NUMBER] [--environments NUMBER]

After each kill one DEL takes everything away. Two pods of each environment talk to each other all the time, and no datagram is lost. In the
end the node is as it was before the first kill.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from node import BIN, Node, Pod, descriptors, environment_of, peers, processes

PORT = 9999
INTERVAL = 0.05
PATIENCE = 10


class Traffic:
    """Datagrams from one pod to another and back, all the time."""

    def __init__(self, one, other):
        self.address = other.address
        with open("/proc/self/ns/net", "rb") as own:
            for pod, name in ((one, "asking"), (other, "echoing")):
                with open(pod.netns.path, "rb") as netns:
                    pod.netns.enter(netns)
                    setattr(self, name, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                    pod.netns.enter(own)
        self.echoing.bind((other.address, PORT))
        self.asking.connect((other.address, PORT))
        self.asking.settimeout(PATIENCE)
        self.sent = self.lost = 0
        self.longest = 0.0
        self.enough = threading.Event()
        threading.Thread(target=self.echo, daemon=True).start()
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()

    def echo(self):
        while True:
            data, sender = self.echoing.recvfrom(64)
            self.echoing.sendto(data, sender)

    def ask(self):
        while not self.enough.wait(INTERVAL):
            self.sent += 1
            began = time.monotonic()
            try:
                self.asking.send(b"%d" % self.sent)
                while self.asking.recv(64) != b"%d" % self.sent:
                    pass
                self.longest = max(self.longest, time.monotonic() - began)
            except OSError:
                self.lost += 1

    def end(self):
        self.enough.set()
        self.thread.join()


def address_of(outcome):
    return outcome.document["ips"][0]["address"].split("/")[0]


class Environment(threading.Thread):
    """An environment with two pods that live, and one that is killed at work again and again."""

    def __init__(self, name, kills, seed):
        super().__init__()
        self.name, self.kills = name, kills
        self.random = random.Random(seed)
        self.wrong = None
        self.killed = 0
        self.duration = {"ADD": 0.1, "DEL": 0.1}
        before = peers()
        self.survivors = [self.make("%s-%s" % (name, service), service) for service in ("api", "web")]
        self.traffic = Traffic(*self.survivors)
        self.victim = Pod(name + "-victim", name, "api")
        for command in ("add", "delete"):
            began = time.monotonic()
            outcome = getattr(self.victim, command)()
            if outcome.status != 0:
                sys.exit(str(outcome))
            self.duration["ADD" if command == "add" else "DEL"] = time.monotonic() - began
        self.devices = {device: value for device, value in peers().items() if device not in before}
        self.netns = self.victim.netns.content()

    def make(self, name, service):
        pod = Pod(name, self.name, service)
        outcome = pod.add()
        if outcome.status != 0:
            sys.exit("a pod cannot be made: %s" % outcome)
        pod.address = address_of(outcome)
        return pod

    def start_list(self, command):
        """The list in a shell's manner: a process for each plugin, the one at work in self.process."""
        numbers = range(len(self.victim.plugins))
        previous = None
        for number in numbers if command == "ADD" else reversed(numbers):
            configuration = dict(self.victim.plugins[number])
            if previous is not None:
                configuration["prevResult"] = previous
            process = subprocess.Popen(
                [os.path.join(BIN, configuration["type"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True,
                env=environment_of(self.victim.name, self.victim.netns.path, command))
            process.stdin.write(json.dumps(configuration).encode())
            process.stdin.close()
            left = self.end - time.monotonic()
            try:
                status = process.wait(max(left, 0))
            except subprocess.TimeoutExpired:
                # The plugin alone, or what it has started with it.
                if self.random.random() < 0.5:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.killed += 1
                return
            finally:
                output = process.stdout.read() if process.returncode == 0 else b""
                process.stdout.close()
            # Without a resolver ADD fails and undoes itself.
            if status != 0:
                return
            previous = json.loads(output) if command == "ADD" else None

    def as_before(self):
        now = peers()
        differing = {device: now.get(device) for device, value in self.devices.items() if now.get(device) != value}
        if differing:
            return "the survivors' peers: %s" % differing
        netns = self.victim.netns.content()
        if netns != self.netns:
            return "the victim's netns: %s" % [entry for entry in netns if entry not in self.netns]
        return None

    def round(self):
        command = self.random.choice(("ADD", "DEL"))
        if command == "DEL":
            self.victim.add()  # fails where the resolver is away: there is as much to DEL
        self.end = time.monotonic() + self.random.random() * self.duration[command]
        self.start_list(command)
        outcome = self.victim.delete()
        if outcome.status != 0:
            # A process that outlived its plugin may be at work for a moment.
            end = time.monotonic() + PATIENCE
            while outcome.status != 0 and outcome.document.get("code") == 11 and time.monotonic() < end:
                time.sleep(0.05)
                outcome = self.victim.delete()
        if outcome.status != 0:
            return "DEL: %s" % outcome
        end = time.monotonic() + PATIENCE
        wrong = self.as_before()
        while wrong and time.monotonic() < end:
            time.sleep(0.02)
            wrong = self.as_before()
        return wrong

    def run(self):
        while self.killed < self.kills and not self.wrong:
            try:
                self.wrong = self.round()
            except Exception as error:  # noqa: a thread's would be lost
                self.wrong = repr(error)


def trouble_resolver(node, chooser, enough, counts):
    """Kills its worker, or both, and starts it anew."""
    while not enough.wait(0.5 + chooser.random() * 2):
        if chooser.random() < 0.5:
            for name, pid in processes():
                if name == "railway-resolv" and pid != node.resolver.pid:
                    os.kill(pid, signal.SIGKILL)
                    counts["worker"] += 1
            continue
        node.resolver.kill()
        node.resolver.wait()
        counts["resolver"] += 1
        if enough.wait(chooser.random() * 0.3):
            pass
        node.start_resolver()


def without_numbers(content):
    """Of processes the names: the resolver's are new."""
    content["processes"] = [name for name, pid in content["processes"]]
    return content


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--environments", type=int, default=3)
    arguments = parser.parse_args()
    print("seed %d" % arguments.seed, flush=True)

    node = Node()
    node.start_resolver()
    each = -(-arguments.kills // arguments.environments)
    environments = [
        Environment("environment%d" % number, each, arguments.seed * 100 + number) for number in range(arguments.environments)]
    node.siblings = [pod for environment in environments for pod in environment.survivors]
    victims = [environment.victim for environment in environments]
    wanted = without_numbers(node.content(victims))

    counts = {"resolver": 0, "worker": 0}
    enough = threading.Event()
    trouble = threading.Thread(target=trouble_resolver, args=(node, random.Random(arguments.seed), enough, counts))
    began = time.monotonic()
    trouble.start()
    for environment in environments:
        environment.start()
    for environment in environments:
        environment.join()
    enough.set()
    trouble.join()

    wrong = ["%s: %s" % (environment.name, environment.wrong) for environment in environments if environment.wrong]
    end = time.monotonic() + PATIENCE
    now = without_numbers(node.content(victims))
    while now != wanted and time.monotonic() < end:
        time.sleep(0.05)
        now = without_numbers(node.content(victims))
    if now != wanted:
        from node import describe

        wrong.append("the node is not as it was:\n" + describe(wanted, now))
    for environment in environments:
        traffic = environment.traffic
        traffic.end()
        print("%s: %d kills; %d datagrams, %d lost, longest %.0f ms" % (
            environment.name, environment.killed, traffic.sent, traffic.lost, traffic.longest * 1000))
        if traffic.lost or not traffic.sent:
            wrong.append("%s: %d of %d datagrams were lost" % (environment.name, traffic.lost, traffic.sent))
    print("resolver killed %d times, its worker %d times; %.0f s" % (
        counts["resolver"], counts["worker"], time.monotonic() - began))
    print("\n".join(wrong))
    sys.stdout.flush()
    os._exit(1 if wrong else 0)  # the echoing threads wait for ever


if __name__ == "__main__":
    main()
