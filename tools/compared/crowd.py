"""Crowds: ten thousand connections that say nothing more, five thousand that hardly say anything.

Compared is what each of them costs in memory, and what the slow ones cost the honest.
"""

import os
import resource
import selectors
import socket
import statistics
import time

from compared import http
from compared.machine import MIB, Server, say, shown

IDLE, SLOW = 10_000, 5_000
SETTLE_S = 2
# Of the honest load, once alone and once beside the slow.
HONEST_S, HONEST_CONNECTIONS = 6, 20
# nginx gives a head a minute.
SLOW_END_S = 90
REQUEST = b"GET /small.cfg HTTP/1.1\r\nHost: compared\r\n"


class Load(http.Load):
    """One crowd, and the most that it may cost."""

    def __init__(self, name, what, crowd, metric, unit, most, version=None):
        super().__init__(name, what, "keep", "small.cfg", most, HONEST_CONNECTIONS, "p256", version)
        self.crowd, self.metric, self.unit = crowd, metric, unit


LOADS = [
    Load("idle", f"{IDLE:,} connections over HTTP that have asked once", "idle", "grown_mib",
         "MiB beyond the base", 40),
    Load("idle-tls", f"{IDLE:,} connections over TLS 1.3 that have asked once", "idle",
         "grown_mib", "MiB beyond the base", 400, "tls13"),
    Load("slow", f"honest load beside {SLOW:,} connections that send a byte a second", "slow",
         "times_p99", "times the 99th percentile without them", 2),
]
LESS_IS_BETTER = {"grown_mib", "times_p99"}


def connect():
    one = socket.create_connection(("127.0.0.1", 80), timeout=10)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def idle(load, running):
    """Memory of the server with every connection open, each of which has been served once."""
    context = http.context_of(load)
    held, before = [], running.resident()
    for _ in range(IDLE):
        one = socket.create_connection(("127.0.0.1", 443 if context else 80), timeout=10)
        if context:
            one = context.wrap_socket(one)
        one.sendall(REQUEST + b"\r\n")
        hear(one)
        held.append(one)
    time.sleep(SETTLE_S)
    grown = running.resident() - before
    open_still = sum(1 for one in held if is_open(one))
    for one in held:
        one.close()
    return {"grown_mib": grown / MIB, "each_kib": grown / IDLE / 1024,
            "closed_early": IDLE - open_still}


def hear(one):
    """One answer, to its last byte."""
    got = b""
    while len(got.partition(b"\r\n\r\n")[2]) < http.FILES["small.cfg"]:
        part = one.recv(65_536)
        if not part:
            raise SystemExit("a connection was closed in the middle of its answer")
        got += part


def is_open(one):
    """Whether the other side has not closed; what TLS says of itself counts as open."""
    plain = socket.socket(fileno=os.dup(one.fileno()))
    try:
        return plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        plain.close()


def slow(load, running, on):
    """The honest load alone, then beside the slow; and when the slow were closed."""
    _, failed, alone_ms = http.ask(load, HONEST_S, on)
    crowd = [connect() for _ in range(SLOW)]
    began = time.monotonic()
    for one in crowd:
        one.sendall(REQUEST + b"X: ")
        one.setblocking(False)
    honest = http.start(load, HONEST_S, on)
    ended, watch = [], selectors.DefaultSelector()
    for one in crowd:
        watch.register(one, selectors.EVENT_READ)
    beside = None
    while watch.get_map() and time.monotonic() - began < SLOW_END_S:
        second = time.monotonic() + 1
        for key in list(watch.get_map().values()):
            try:
                key.fileobj.send(b"x")
            except OSError:
                pass
        while (left := second - time.monotonic()) > 0 and watch.get_map():
            for key, _ in watch.select(left):
                try:
                    if key.fileobj.recv(4_096):
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                ended.append(time.monotonic() - began)
                watch.unregister(key.fileobj)
        if beside is None and honest.poll() is not None:
            beside = http.heard(honest.communicate()[0])
    for one in crowd:
        one.close()
    if beside is None:
        beside = http.heard(honest.communicate()[0])
    _, failed_beside, beside_ms = beside
    return {"alone_ms": alone_ms, "beside_ms": beside_ms, "times_p99": beside_ms / alone_ms,
            "failed": failed + failed_beside, "never_closed": SLOW - len(ended),
            "closed_s": statistics.median(ended) if ended else None}


def one_run(server, load, work):
    command = http.command_of(server, work, load)
    if not command:
        return None
    for_server, for_load = http.cores()
    with open(work / f"{server}.log", "ab") as log:
        running = Server(command, None, for_server, log)
    everywhere = os.sched_getaffinity(0)
    try:
        if not running.wait_until(lambda: http.answers(load, work)):
            say(f"  {server} does not start: {(work / f'{server}.log').read_text()[-2_000:]}")
            return None
        if for_load:
            os.sched_setaffinity(0, for_load)
        if load.crowd == "idle":
            return idle(load, running)
        return slow(load, running, for_load)
    finally:
        os.sched_setaffinity(0, everywhere)
        running.stop()


def compare(load, work, pairs):
    if not (work / "p256.pem").exists():
        http.prepare(work)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds = {"ringpost": [], "nginx": []}
    for number in range(pairs):
        for server in list(rounds)[::1 if number % 2 == 0 else -1]:
            figures = one_run(server, load, work)
            if figures:
                rounds[server].append(figures)
                say(f"  {load.name} {number + 1}/{pairs} {server}: "
                    + ", ".join(f"{key} {shown(value)}" for key, value in figures.items()))
    return {"name": load.name, "what": load.what, "metric": load.metric, "unit": load.unit,
            "bar": load.bar, "servers": {server: summary(runs) for server, runs in rounds.items()}}


def summary(runs):
    if not runs:
        return None
    told = {key for run in runs for key in run if run[key] is not None}
    median = {key: statistics.median(run[key] for run in runs if run[key] is not None)
              for key in runs[0] if key in told}
    return {"median": median, "runs": runs, "ratio": {}}


def markdown(results):
    lines = []
    for load in results:
        lines += [f"**{load['what']}**", "",
                  f"| server | {load['unit']} | beside it | at most |", "|---|---|---|---|"]
        for server, one in load["servers"].items():
            if one is None:
                lines.append(f"| {server} | not here | | |")
                continue
            middle = one["median"]
            rest = ", ".join(f"{key} {shown(value)}" for key, value in middle.items()
                             if key != load["metric"])
            value = middle[load["metric"]]
            verdict = "" if server != "ringpost" else (
                f"{load['bar']}: {'met' if value <= load['bar'] else 'missed'}")
            lines.append(f"| {server} | {shown(value)} | {rest} | {verdict} |")
        lines.append("")
    return "\n".join(lines)
