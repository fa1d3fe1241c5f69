"""Crowds of phones by ringstorm: all boot at once, ten thousand say nothing more, five thousand
hardly say or read anything.

Compared is how long it takes until all are back, what each idle connection costs in memory, and
what the slow ones cost the honest. ringstorm compares every byte that comes.
"""

import json
import os
import resource
import statistics
import subprocess
import time

from compared import http
from compared.machine import KIB, MIB, REPO, Server, say, shown

IDLE, SLOW, PHONES = 10_000, 5_000, 5_000
SETTLE_S = 2
# 200 phones that ask ten times a second each, for some 15 s; by then slow heads are refused.
HONEST = ["--phones", "200", "--ramp", "100ms", "--pause", "100ms", "--repeat", "150",
          "--group", "file=small.cfg"]
# nginx gives a head a minute.
HOLD_S = 75
BOOT = {"96xxupgrade.txt": 4 * KIB, "46xxsettings.txt": 13 * KIB, "hb96xxua3_00.bin": 200 * KIB}


class Load(http.Load):
    """One crowd, and the most that it may cost."""

    def __init__(self, name, what, crowd, metric, unit, most, version=None, key="p256"):
        super().__init__(name, what, "keep", "small.cfg", most, 0, key, version)
        self.crowd, self.metric, self.unit = crowd, metric, unit


BACK = "s until all are back"
LOADS = [
    Load("boot", f"{PHONES:,} phones boot over HTTP at once", "boot", "back_s", BACK, None),
    Load("boot-tls12", f"{PHONES:,} phones boot over TLS 1.2 with RSA at once, full handshakes",
         "boot", "back_s", BACK, None, "tls12", "rsa"),
    Load("boot-tls13", f"{PHONES:,} phones boot over TLS 1.3 with P-256 at once, full handshakes",
         "boot", "back_s", BACK, None, "tls13"),
    Load("idle", f"{IDLE:,} connections over HTTP that have asked once", "idle", "grown_mib",
         "MiB beyond the base", 40),
    Load("idle-tls", f"{IDLE:,} connections over TLS 1.3 that have asked once", "idle",
         "grown_mib", "MiB beyond the base", 400, "tls13"),
    Load("slow", f"honest load beside {SLOW:,} connections that send a byte a second", "slow",
         "times_p99", "times the 99th percentile without them", 2),
    Load("slow-read", f"honest load beside {SLOW:,} connections that read a byte a second", "slow",
         "times_p99", "times the 99th percentile without them", 2),
]
LESS_IS_BETTER = {"back_s", "grown_mib", "times_p99"}


def ringstorm(load, work, on, *options):
    """ringstorm against the server that runs."""
    version = {None: [], "tls12": ["--tls12"], "tls13": ["--tls13"]}[load.version]
    secure = ["--insecure", "--no-resumption", *version] if load.version else []
    return http.pinned([str(REPO / "target/release/ringstorm"), http.base_of(load), "--quiet",
                        "--root", str(work / "files"), "--json", str(work / "storm.json"),
                        *secure, *options], on)


def storm(load, work, on, *options):
    """What ringstorm says at its end."""
    subprocess.run(ringstorm(load, work, on, *options), stdout=subprocess.DEVNULL, check=False)
    return json.loads((work / "storm.json").read_text())


def boot(load, work, running, on):
    before = running.cpu_us()
    report = storm(load, work, on, "--boot", "avaya9600", "--phones", str(PHONES))
    group = report["groups"][0]
    return {"back_s": report["seconds"], "p50_ms": group["boot"]["p50_ms"],
            "p99_ms": group["boot"]["p99_ms"], "failed": group["phones_failed"],
            "cpu_s": (running.cpu_us() - before) / 1e6, "peak_mib": running.peak_bytes / MIB,
            "tool_busy": report["tool_busy"]}


def idle(load, work, running, on):
    """Memory of the server with every connection open, each of which has been served once."""
    before = running.resident()
    crowd = subprocess.Popen(
        ringstorm(load, work, on, "--file", "small.cfg", "--idle", str(IDLE), "--phones", "0",
                  "--hold", "20s"), stdout=subprocess.PIPE, text=True)
    if not crowd.stdout.readline().startswith("all "):
        raise SystemExit(f"{load.name}: the connections are not opened")
    time.sleep(SETTLE_S)
    grown = running.resident() - before
    crowd.communicate()
    group = json.loads((work / "storm.json").read_text())["groups"][0]
    return {"grown_mib": grown / MIB, "each_kib": grown / IDLE / 1024,
            "closed_early": IDLE - group["stayed"]}


def slow(load, work, running, on):
    """The honest load alone, then beside the slow; and when the slow were closed."""
    reads = ["--file", "image.bin", "--slow-read"] if load.name == "slow-read" else [
        "--file", "small.cfg"]
    alone = storm(load, work, on, *HONEST)["groups"][0]
    report = storm(load, work, on, *HONEST, *reads, "--slow", str(SLOW), "--hold", f"{HOLD_S}s")
    crowd, beside = report["groups"]
    alone_ms, beside_ms = alone["file"]["p99_ms"], beside["file"]["p99_ms"]
    return {"alone_ms": alone_ms, "beside_ms": beside_ms, "times_p99": beside_ms / alone_ms,
            "failed": alone["files_failed"] + beside["files_failed"],
            "open_at_end": crowd["stayed"], "closed_s": crowd["ended_after"]["p50_ms"] / 1e3}


def one_run(server, load, work):
    command = http.command_of(server, work, load)
    if not command:
        return None
    for_server, for_load = http.cores()
    with open(work / f"{server}.log", "ab") as log:
        running = Server(command, None, for_server, log)
    try:
        if not running.wait_until(lambda: http.answers(load, work)):
            say(f"  {server} does not start: {(work / f'{server}.log').read_text()[-2_000:]}")
            return None
        return {"boot": boot, "idle": idle, "slow": slow}[load.crowd](
            load, work, running, for_load)
    finally:
        running.stop()


def compare(load, work, pairs):
    if not (work / "p256.pem").exists():
        http.prepare(work)
    for name, size in BOOT.items():
        (work / "files" / name).write_bytes(os.urandom(size))
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
            verdict = "" if server != "ringpost" or load["bar"] is None else (
                f"{load['bar']}: {'met' if value <= load['bar'] else 'missed'}")
            lines.append(f"| {server} | {shown(value)} | {rest} | {verdict} |")
        lines.append("")
    return "\n".join(lines)
