"""Lets every call of the plugins fail once, in ADD and in DEL, and looks at what is left.

sweep.py FAULTS [--part I/K] [--every M] [--only TEXT]

FAULTS: "calls" (each system call, with each error that it can really return), "allocations", or "kills" (each system call is the
process's last moment). Of the faults, numbered throughout, the Mth ones are taken, and of these the Ith of K parts: nodes of their own
can run in parallel.

After an ADD that failed: nothing is left, before DEL even (but where a later plugin of the list could not even read its configuration: what
earlier ones had made is left to DEL); then DEL, or ADD again, as a runtime may. After a DEL that failed: DEL
again, and nothing is left. Either printed one CNI error and was not ended by a signal.
"""

import argparse
import errno
import os
import sys
import time

from node import DIRECTORY, TOOLS, Node, Pod

REPORT = DIRECTORY + "/report"
UNREAD = '"msg":"the network configuration on standard input: '

# What each call can return when its caller is right about everything: what machines run out of, what disks do, what interrupts.
NO_MEMORY = (errno.ENOMEM,)
DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
ERRORS = {
    "access": (errno.EIO,),
    "bind": (errno.ENOMEM, errno.ENOSPC),
    "chdir": (errno.ENOMEM,),
    "clock_nanosleep": (errno.EINTR,),
    "clone": (errno.EAGAIN, errno.ENOMEM),
    "clone3": (errno.EAGAIN, errno.ENOMEM),
    "connect": (errno.EAGAIN,),
    "dup2": (errno.EMFILE,),
    "dup3": (errno.EMFILE,),
    "execve": (errno.ENOMEM, errno.EIO),
    "faccessat2": (errno.EIO,),
    "fchmod": (errno.EIO,),
    "fcntl.0": (errno.EMFILE,),  # F_DUPFD
    "fcntl.406": (errno.EMFILE,),  # F_DUPFD_CLOEXEC
    "fcntl.6": (errno.ENOLCK, errno.EINTR),  # F_SETLK
    "fcntl.7": (errno.ENOLCK, errno.EINTR),  # F_SETLKW
    "fcntl.25": (errno.ENOLCK, errno.EINTR),  # F_OFD_SETLK
    "fdatasync": (errno.EIO, errno.ENOSPC),
    "fstatfs": (errno.ENOMEM,),
    "fsync": (errno.EIO,),
    "ftruncate": (errno.EIO, errno.ENOSPC),
    "getdents64": (errno.EIO,),
    "getpeername": (errno.ENOBUFS,),
    "getsockname": (errno.ENOBUFS,),
    "getsockopt": (errno.ENOBUFS,),
    "ioctl.400454ca": (errno.ENOMEM, errno.EPERM),  # TUNSETIFF
    "kill": (errno.EPERM,),
    "listen": (errno.EACCES,),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "mkdirat": (errno.ENOSPC, errno.EACCES),
    "mmap": NO_MEMORY,
    "mprotect": NO_MEMORY,
    "mremap": NO_MEMORY,
    "msync": (errno.EIO,),
    "nanosleep": (errno.EINTR,),
    "newfstatat": (errno.ENOMEM,),
    "open": (*DESCRIPTORS, errno.ENOMEM),
    "openat": (*DESCRIPTORS, errno.ENOMEM),
    "pidfd_open": (errno.EMFILE, errno.ENOMEM),
    "pidfd_send_signal": (errno.EPERM,),
    "pipe2": DESCRIPTORS,
    "poll": (errno.ENOMEM, errno.EINTR),
    "pread64": (errno.EIO,),
    "pwrite64": (errno.EIO, errno.ENOSPC),
    "pwritev": (errno.EIO, errno.ENOSPC),
    "read": (errno.EIO, errno.EINTR),
    "readlink": (errno.ENOMEM,),
    "recvfrom": (errno.ENOMEM, errno.EINTR),
    "recvmsg": (errno.ENOBUFS, errno.EINTR),
    "sendmsg": (errno.ENOBUFS, errno.EINTR),
    "sendto": (errno.ENOBUFS, errno.EINTR),
    "setns": NO_MEMORY,
    "setsockopt": (errno.ENOMEM,),
    "socket": (errno.EMFILE, errno.ENOBUFS),
    "socketpair": (errno.EMFILE, errno.ENOBUFS),
    "statfs": (errno.ENOMEM,),
    "unlink": (errno.EIO,),
    "vfork": (errno.EAGAIN, errno.ENOMEM),
    "wait4": (errno.EINTR,),
    "waitid": (errno.EINTR,),
    "write": (errno.EIO, errno.ENOSPC),
    "writev": (errno.EIO, errno.ENOSPC),
}

# Those that fail only where their caller is wrong, give nothing back that could be an error, or whose failure a program cannot see.
HARMLESS = {
    "alarm", "brk", "close", "close_range", "exit", "exit_group", "fstat", "futex", "getegid", "geteuid", "getgid", "getpid",
    "getppid", "getrandom", "gettid", "getuid", "gettimeofday", "clock_gettime", "lseek", "madvise", "munmap", "prlimit64", "restart_syscall",
    "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield", "set_robust_list",
    "set_tid_address", "setsid", "sigaltstack", "sysinfo", "umask", "uname",
    "fcntl.1", "fcntl.2", "fcntl.3", "fcntl.4", "fcntl.5", "fcntl.24", "fcntl.26", "ioctl.5401", "ioctl.b701", "ioctl.b703",
}
# A sanitizer's runtime maps memory of its own, and ends the process where it cannot.
OF_SANITIZERS = {"mmap", "mprotect", "mremap"}


class Fault:
    def __init__(self, shape, command, plugin, process, kind, number, error):
        self.shape, self.command, self.plugin = shape, command, plugin
        self.process, self.kind, self.number, self.error = process, kind, number, error

    def __str__(self):
        what = {"allocation": "no memory", "any": "killed"}.get(self.kind) or errno.errorcode[self.error]
        return "%s: %s of plugin %d: %s, %s %d: %s" % (
            self.shape, self.command, self.plugin, self.process, self.kind, self.number, what)

    def injector(self):
        """(command before the plugin, more environment)"""
        if self.kind == "allocation":
            return [], {
                "LD_PRELOAD": TOOLS + "/faults/allocations.so",
                "RAILWAY_ALLOCATION": "%s:%d" % (self.process, self.number),
                "RAILWAY_ALLOCATION_REPORT": REPORT,
            }
        action = "kill" if self.kind == "any" else self.error
        return [TOOLS + "/faults/inject", REPORT, "%s:%s:%d:%s" % (self.process, self.kind, self.number, action)], {}


def clear_report():
    if os.path.exists(REPORT):
        os.unlink(REPORT)


def was_injected():
    try:
        with open(REPORT) as report:
            return "injected\n" in report
    except FileNotFoundError:
        return False


def counted(faults):
    """How a plugin runs so that its calls are counted."""
    if faults == "allocations":
        return [], {
            "LD_PRELOAD": TOOLS + "/faults/allocations.so",
            "RAILWAY_ALLOCATION": "none",
            "RAILWAY_ALLOCATION_REPORT": REPORT,
        }
    return [TOOLS + "/faults/inject", REPORT, "none"], {}


def read_counts():
    """{(process, kind): count}"""
    found = {}
    with open(REPORT) as report:
        for line in report:
            words = line.split()
            if len(words) == 3:
                key = (words[0], words[1])
                found[key] = found.get(key, 0) + int(words[2])
    return found


def faults_of(kind_of_faults, shape, command, plugin, counts, sanitized):
    unknown = set()
    for (process, kind), count in sorted(counts.items()):
        if kind_of_faults == "allocations":
            errors = [None] if kind == "allocation" else []
        elif kind_of_faults == "kills":
            errors = [None] if kind == "any" else []
        elif kind == "any" or kind in HARMLESS or kind.startswith("ioctl") and kind not in ERRORS or \
                sanitized and kind in OF_SANITIZERS:
            errors = []
        elif kind in ERRORS:
            errors = ERRORS[kind]
        else:
            errors = []
            unknown.add(kind)
        for number in range(1, count + 1):
            for error in errors:
                yield Fault(shape, command, plugin, process, kind, number, error)
    if unknown:
        sys.exit("system calls that the sweep does not know: %s" % " ".join(sorted(unknown)))


def record(pod, kind_of_faults, sanitized):
    """Runs the list once in each direction, and gives all faults that are possible on the way."""
    found = []
    before, more = counted(kind_of_faults)
    previous = None
    for number in range(len(pod.plugins)):
        clear_report()
        outcome = pod.execute(number, "ADD", previous, before, more)
        if outcome.status != 0:
            sys.exit("the list does not work: %s" % outcome)
        previous = outcome.document
        found += faults_of(kind_of_faults, pod.shape, "ADD", number, read_counts(), sanitized)
    for number in range(len(pod.plugins) - 1, -1, -1):
        clear_report()
        outcome = pod.execute(number, "DEL", None, before, more)
        if outcome.status != 0:
            sys.exit("the list does not work: %s" % outcome)
        found += faults_of(kind_of_faults, pod.shape, "DEL", number, read_counts(), sanitized)
    return found


class Sweep:
    def __init__(self, node, wanted, pods):
        self.node, self.wanted, self.pods = node, wanted, pods
        self.missed = 0
        self.unknowing = 0

    def left(self, patience=10):
        return self.node.difference(self.wanted, self.pods, patience)

    def judge(self, fault, outcome):
        """What is wrong with the outcome of the faulty call itself."""
        if fault.kind == "any":
            return None if outcome.output == "" or outcome.document is not None else "half an answer: %s" % outcome
        return outcome.fault(output_failed=fault.kind.startswith("write"))

    def try_add(self, pod, fault, again):
        previous = None
        for number in range(fault.plugin):
            outcome = pod.execute(number, "ADD", previous)
            if outcome.status != 0:
                return "ADD does not work any more: %s" % outcome
            previous = outcome.document
        before, more = fault.injector()
        outcome = pod.execute(fault.plugin, "ADD", previous, before, more)
        self.missed += not was_injected()
        wrong = self.judge(fault, outcome)
        if wrong:
            return wrong
        if outcome.status == 0:
            rest = pod.add(fault.plugin + 1, outcome.document) if fault.plugin + 1 < len(pod.plugins) else outcome
            if rest.status != 0:
                return "the rest of ADD: %s" % rest
        else:
            if fault.kind == "any":
                again = False  # nobody was left to undo it
            else:
                # A plugin that could not read what it was called for does not know what earlier ones have made for it.
                unknowing = fault.plugin > 0 and UNREAD in outcome.output
                left = "" if unknowing else self.left()
                if unknowing:
                    self.unknowing += 1
                    again = False
                elif left:
                    return "ADD has failed (%s), and left before DEL:\n%s" % (outcome.output.strip()[:300], left)
            if again:
                outcome = pod.add()
                if outcome.status != 0:
                    return "ADD again: %s" % outcome
        return None

    def try_delete(self, pod, fault):
        outcome = pod.add()
        if outcome.status != 0:
            return "ADD does not work any more: %s" % outcome
        for number in range(len(pod.plugins) - 1, fault.plugin, -1):
            outcome = pod.execute(number, "DEL")
            if outcome.status != 0:
                return "DEL does not work any more: %s" % outcome
        before, more = fault.injector()
        outcome = pod.execute(fault.plugin, "DEL", None, before, more)
        self.missed += not was_injected()
        wrong = self.judge(fault, outcome)
        if wrong or outcome.status != 0:
            return wrong
        if fault.plugin > 0:
            outcome = pod.delete(fault.plugin - 1)
            if outcome.status != 0:
                return "the rest of DEL: %s" % outcome
        left = self.left()
        return "DEL has succeeded, and left:\n%s" % left if left else None

    def attempt(self, pod, fault, again):
        clear_report()
        wrong = self.try_add(pod, fault, again) if fault.command == "ADD" else self.try_delete(pod, fault)
        outcome = pod.delete()
        if not wrong and outcome.status != 0:
            wrong = "DEL afterwards: %s" % outcome
        left = self.left(10)
        if left:
            wrong = "%s\nDEL afterwards has left:\n%s" % (wrong or "", left)
        return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("faults", choices=["calls", "allocations", "kills"])
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    part, parts = (int(number) for number in arguments.part.split("/"))
    sanitized = os.environ.get("VARIANT") == "asan"

    node = Node()
    node.start_resolver()
    node.add_siblings(("one", "production", "api"), ("two", "production", "web"), ("far", "staging", "api"))
    pods = {}
    for shape in ("chain", "plain"):
        pods[shape] = Pod("pod-" + shape, "production", "api", shape)
        pods[shape].shape = shape
    faults = []
    for pod in pods.values():
        pod.add()
        pod.delete()
        faults += record(pod, arguments.faults, sanitized)
    faults = [fault for number, fault in enumerate(faults) if number % arguments.every == 0]
    faults = [fault for number, fault in enumerate(faults) if number % parts == part and arguments.only in str(fault)]
    if arguments.list:
        print("\n".join(str(fault) for fault in faults))
        return

    sweep = Sweep(node, node.content(pods.values()), list(pods.values()))
    failed = 0
    started = time.monotonic()
    for number, fault in enumerate(faults):
        wrong = sweep.attempt(pods[fault.shape], fault, number % 2 == 1)
        if not wrong:
            continue
        failed += 1
        print("not ok %s\n  %s" % (fault, wrong), flush=True)
        left = sweep.left(0)
        if left:
            print("  the node is not to be repaired: this part ends here", flush=True)
            break
    print("%s, part %d of %d: %d faults, %d failed, %d were not reached, %d left what earlier plugins had made to DEL; %.0f s" % (
        arguments.faults, part + 1, parts, len(faults), failed, sweep.missed, sweep.unknowing, time.monotonic() - started), flush=True)
    if os.environ.get("FAULTS_COUNT"):
        with open(os.environ["FAULTS_COUNT"], "a") as counts:
            counts.write("%d %d 0\n" % (len(faults) - failed, failed))
    # How often a process asks whether another is ready is not the same each time.
    if not faults or sweep.missed > 2 + len(faults) // 20:
        sys.exit("too few faults were reached to prove anything")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
