"""A server under test as a process: started on chosen cores, measured, ended. Knows no protocol."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ringpost-compare"
KIB, MIB = 1 << 10, 1 << 20
SAMPLE_S = 0.05
START_S = 15


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def unpacked(name):
    """A program that --install unpacked, or that is installed."""
    for folder in ("usr/sbin", "usr/bin"):
        path = CACHE / "root" / folder / name
        if path.exists():
            return str(path)
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def environment():
    """Programs that were unpacked find the libraries that were unpacked beside them."""
    return {**os.environ, "LD_LIBRARY_PATH": str(CACHE / "root/usr/lib/x86_64-linux-gnu")}


class Server:
    """One running server; its figures; its end."""

    def __init__(self, command, trace=None, cores=None, output=subprocess.DEVNULL):
        self.trace, self.cores = trace, cores
        self.group = make_group()
        if trace:
            command = ["strace", "-f", "-qq", "-c", "-o", str(trace)] + command
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(),
            preexec_fn=self.prepare, start_new_session=True)
        self.idle_bytes, self.peak_bytes, self.stopping = 0, 0, threading.Event()
        self.sampler = threading.Thread(target=self.sample, daemon=True)

    def prepare(self):
        # As many descriptors as the kernel grants: dnsmasq takes one for each phone.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for limit in (1 << 20, 100_000, hard):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
                break
            except (ValueError, OSError):
                continue
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))
        if self.cores:
            os.sched_setaffinity(0, self.cores)

    def wait_until(self, answers):
        """Asks until the server answers; whether it does."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            if answers():
                # What starting left to do must not count as the load's.
                time.sleep(0.3)
                self.idle_bytes = self.resident()
                self.peak_bytes = self.idle_bytes
                self.sampler.start()
                return True
            time.sleep(0.02)
        return False

    def pids(self):
        if self.group:
            try:
                pids = (self.group / "cgroup.procs").read_text().split()
            except OSError:
                pids = []
        else:
            pids = tree_of(self.process.pid)
        return [pid for pid in pids if not (self.trace and int(pid) == self.process.pid)]

    def resident(self):
        """Resident bytes of its processes, pages that they share counted once where told."""
        return sum(resident_of(pid) for pid in self.pids())

    def sample(self):
        # A server that forks thousands of times makes this costly, and so it is asked less often.
        while not self.stopping.wait(SAMPLE_S if len(self.pids()) < 50 else 1.0):
            self.peak_bytes = max(self.peak_bytes, self.resident())

    def cpu_us(self):
        if self.group:
            return int((self.group / "cpuacct.usage").read_text()) / 1_000
        ticks = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(int(field) for field in fields[11:15])
            except OSError:
                continue
        return ticks * 1_000_000 / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.stopping.set()
        for pid in self.pids():
            send(int(pid), signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        for pid in self.pids():
            send(int(pid), signal.SIGKILL)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.group:
            for _ in range(50):
                try:
                    self.group.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)


@contextlib.contextmanager
def shaped(rate):
    """Lets packets pass at this rate only, in this namespace: the server's and the phones' alike."""
    if not rate:
        yield
        return
    tc = lambda do, *words: subprocess.run(
        ["tc", "qdisc", do, "dev", "lo", "root", *words], check=True)
    tc("add", "tbf", "rate", rate, "burst", "16kb", "limit", "128kb")
    try:
        yield
    finally:
        tc("del")


def send(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass


def make_group():
    """A control group that adds up the CPU time of everything that the server starts."""
    group = Path(f"/sys/fs/cgroup/cpuacct/ringpost-compare-{os.getpid()}-{time.monotonic_ns()}")
    try:
        group.mkdir()
        return group if (group / "cpuacct.usage").exists() else None
    except OSError:
        return None


def tree_of(pid):
    found, todo = [], [str(pid)]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                todo += task.read_text().split()
            except OSError:
                continue
    return found


def resident_of(pid):
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) * KIB
    except (OSError, TypeError):
        return 0


def calls_in(counts):
    """System calls in all, by the summary that strace -c writes."""
    for line in reversed(counts.read_text().splitlines()):
        words = line.split()
        if words and words[-1] == "total":
            return int(words[3])
    return 0


def shown(value):
    if value is None or value == float("inf"):
        return "-"
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
