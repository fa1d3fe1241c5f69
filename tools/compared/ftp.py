"""FTP and FTPS: Ringpost beside vsftpd and pure-ftpd, on a core that the load does not use.

What counts is how much is served for a second of the server's CPU time, its children's included,
for both rivals fork one or two for each session. curl fetches what is large, ringstorm plays the
phones and answers SNMP for them. Before it is timed each server must give every byte of the file,
and say the suite that the load is about.
"""

import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

from compared import crowd, http
from compared.machine import KIB, MIB, REPO, Server, calls_in, say, shown, unpacked

FILES = {"small.cfg": 2 * KIB, "large.bin": 100 * MIB}
SESSIONS, AT_A_TIME, TRACED, IDLE = 20_000, 200, 400, 2_000
PHONES, SAVED, WITHIN_S, SNMP_PORT = 5_000, 4 * KIB, 10, 16_161
SUITE = "TLS_AES_256_GCM_SHA384"
SECURED = ["--ssl-reqd", "--insecure", "--tlsv1.3", "--tls13-ciphers", SUITE]

# At its best: one process for each session instead of two or three, no namespaces to make for
# each (isolate), no filter of system calls, no log, no title, no pauses about log-ins, sendfile.
# The user must have a home directory that is there. A client that resumes may (vsftpd 3.0.3
# demands it by default, which many cannot over TLS 1.3).
VSFTPD = """\
listen=YES
listen_address=127.0.0.1
listen_port=21
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=NO
anon_root={work}/files
ftp_username=daemon
nopriv_user=nobody
secure_chroot_dir={work}/empty
one_process_model=YES
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
use_sendfile=YES
xferlog_enable=NO
tcp_wrappers=NO
session_support=NO
setproctitle_enable=NO
max_clients=0
max_per_ip=0
delay_failed_login=0
delay_successful_login=0
idle_session_timeout=300
pasv_min_port=50000
pasv_max_port=59999
ssl_enable={tls}
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=NO
rsa_cert_file={work}/p256.pem
rsa_private_key_file={work}/p256.key
"""
# At its best: anonymous sessions only, no names looked up, no log, one client from one address as
# good as many. The user `ftp`, whose home is what it serves, is there in its own view of
# /etc/passwd.
PUREFTPD = ["-S", "127.0.0.1,21", "-e", "-H", "-D", "-A", "-c", "10000", "-C", "10000",
            "-p", "50000:59999", "-f", "none", "-I", "5"]
RINGPOST = """\
data_dir = "{work}"
workers = 1
[ftp]
listen = ["127.0.0.1:21"]
root = ["files"]
certificate = "p256.pem"
key = "p256.key"
passive_ports = "50000-59999"
per_address = 0
[log]
level = "warn"
"""
# ringstorm answers for every phone.
RINGPOST_SAVES = """\
[vault]
dir = "vault"
[snmp]
port = {snmp}
"""
LESS_IS_BETTER = {"durable_s"}


class Load:
    """One load: what is done, what counts, and by how much Ringpost should be better."""

    def __init__(self, name, what, metric, unit, bar, secured=False):
        self.name, self.what, self.metric, self.unit = name, what, metric, unit
        self.bar, self.secured = bar, secured
        self.alone = name == "ftp-save"
        self.is_rate = metric.endswith("per_cpu_s")
        self.file = "large.bin" if "large" in name else "small.cfg"


LOADS = [
    Load("ftp-large", "100 MiB over FTP, one client (curl)", "mb_per_cpu_s",
         "MB a server CPU second", 1.0),
    Load("ftp-large-tls", "100 MiB over FTP with TLS 1.3 AES-256-GCM on both connections, one "
         "client (curl)", "mb_per_cpu_s", "MB a server CPU second", 1.2, secured=True),
    Load("ftp-login", f"log in, EPSV, RETR 2 KB, QUIT, {AT_A_TIME} phones at a time",
         "done_per_cpu_s", "sessions a server CPU second", 5.0),
    Load("ftp-login-tls", f"the same over TLS 1.3 with P-256 on both connections, full handshakes, "
         f"{AT_A_TIME} phones at a time", "done_per_cpu_s", "sessions a server CPU second", None,
         secured=True),
    Load("ftp-save", f"{PHONES:,} phones save 4 KiB, each asked by SNMP first", "durable_s",
         "s until all are durable, none refused", WITHIN_S),
    Load("ftp-idle", f"{IDLE:,} sessions that have logged in, and nothing more", "grown_mib",
         "MiB beyond the base", 32),
]


# --- the servers -------------------------------------------------------------------------------

def prepare(work):
    """Files, a certificate for all, and what each rival wants to find."""
    if not (work / "p256.pem").exists():
        http.prepare(work)
    for name, size in FILES.items():
        path = work / "files" / name
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(os.urandom(size))
    both = (work / "p256.key").read_text() + (work / "p256.pem").read_text()
    (work / "both.pem").write_text(both)
    (work / "empty").mkdir(exist_ok=True)
    users = [line for line in Path("/etc/passwd").read_text().splitlines()
             if not line.startswith("ftp:")]
    (work / "passwd").write_text("\n".join([*users, f"ftp:x:1:1::{work}/files:/bin/false", ""]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def command_of(server, work, load):
    """The command line that starts a server, or None if it is not here."""
    if server == "vsftpd":
        config = work / "vsftpd.conf"
        config.write_text(VSFTPD.format(work=work, tls="YES" if load.secured else "NO"))
        # What it has to complain about it says to its standard input.
        program = unpacked("vsftpd")
        return program and ["sh", "-c", f"exec {program} {config} <&1"]
    if server == "pure-ftpd":
        program = unpacked("pure-ftpd")
        secured = ["-Y", "1", "-2", str(work / "both.pem")] if load.secured else []
        return program and ["unshare", "-m", "sh", "-c",
                            f"mount --bind {work}/passwd /etc/passwd && exec \"$@\"", "sh",
                            program, *PUREFTPD, *secured]
    text = RINGPOST + (RINGPOST_SAVES if load.name == "ftp-save" else "")
    config = work / "ringpost-ftp.toml"
    config.write_text(text.format(work=work, snmp=SNMP_PORT))
    binary = REPO / "target/release/ringpost"
    return [str(binary), "serve", "--config", str(config)] if binary.exists() else None


def curl(load, *more):
    secured = SECURED if load.secured else []
    return ["curl", "--silent", "--show-error", *secured, *more]


def answers(load, work):
    """Whether the server gives the load's file, byte for byte, within a moment; and how secured."""
    got = work / "got.bin"
    asked = subprocess.run(curl(load, "--verbose", "--max-time", "10", "--output", str(got),
                                f"ftp://127.0.0.1/{load.file}"),
                           capture_output=True, text=True, check=False)
    if asked.returncode:
        return False
    if got.read_bytes() != (work / "files" / load.file).read_bytes():
        raise SystemExit(f"{load.name}: the server gave other bytes")
    suites = re.findall(r"SSL connection using (\S+) / (\S+)", asked.stderr)
    if load.secured and suites != [("TLSv1.3", SUITE)] * 2:
        raise SystemExit(f"{load.name}: commands and data were secured with {suites}")
    return True


# --- the loads ---------------------------------------------------------------------------------

def fetch(load, times, on):
    """One client fetches the file so often in one session; how often it came whole, and not."""
    wanted = []
    for _ in range(times):
        wanted += ["--output", "/dev/null", f"ftp://127.0.0.1/{load.file}"]
    told = curl(load, "--write-out", "%{size_download}\\n", *wanted)
    said = subprocess.run(http.pinned(told, on), capture_output=True, text=True, check=False)
    came = said.stdout.split().count(str(FILES[load.file]))
    if came < times:
        say(f"  {load.name}: {said.stderr.strip()[-300:]}")
    return came, times - came


def ringstorm(load, work, on, *options):
    # Both sides of the data connection are secured where the session is.
    secured = ["--ftp-tls", "--insecure", "--tls13", "--no-resumption"] if load.secured else []
    return http.pinned([str(REPO / "target/release/ringstorm"), "ftp://127.0.0.1:21/", "--quiet",
                        "--root", str(work / "files"), "--json", str(work / "storm.json"),
                        *secured, *options], on)


def storm(load, work, on, *options):
    """What ringstorm says at its end; it compares every byte."""
    (work / "storm.json").unlink(missing_ok=True)
    said = subprocess.run(ringstorm(load, work, on, *options), capture_output=True, text=True,
                          check=False)
    try:
        return json.loads((work / "storm.json").read_text())
    except OSError:
        raise SystemExit(f"{load.name}: {said.stderr.strip()[-500:]}") from None


def log_in(load, sessions, work, on):
    """Sessions of phones; how many were good, and not, and how long the slowest of 100 took."""
    # Phones that are not greeted begin again: of 200 that connect in one moment vsftpd, with room
    # for 32, lets some wait for ever.
    report = storm(load, work, on, "--extended", "--get", load.file, "--phones", str(sessions),
                   "--concurrent", str(AT_A_TIME), "--timer", "2s", "--attempts", "20")
    group = report["groups"][0]
    return group["sessions_good"], group["sessions_failed"], group["session"]["p99_ms"]


def work_of(load, server):
    """How much of a load takes some seconds: the rivals need as long for a tenth of the log-ins."""
    if "large" in load.name:
        return 8 if load.secured else 40
    share = 1 if server == "ringpost" else 5
    return SESSIONS // share // (4 if load.secured else 1)


def ask(load, times, work, on):
    if "large" in load.name:
        return *fetch(load, times, on), None
    return log_in(load, times, work, on)


def rate(load, running, server, work, on):
    ask(load, 1 if "large" in load.name else AT_A_TIME, work, on)
    settle(running)
    cpu_before, began = running.cpu_us(), time.monotonic()
    done, failed, p99_ms = ask(load, work_of(load, server), work, on)
    seconds = time.monotonic() - began
    settle(running)
    cpu_us = running.cpu_us() - cpu_before
    per_cpu_s, per_s = done / max(cpu_us, 1) * 1e6, done / seconds
    return {
        "done": done, "failed": failed, "seconds": seconds, "cpu_us": cpu_us,
        "done_per_s": per_s, "done_per_cpu_s": per_cpu_s,
        "mb_per_s": per_s * FILES[load.file] / 1e6,
        "mb_per_cpu_s": per_cpu_s * FILES[load.file] / 1e6,
        "cpu_us_each": cpu_us / max(done, 1), "busy": cpu_us / 1e6 / seconds, "p99_ms": p99_ms,
        "peak_mib": running.peak_bytes / MIB,
    }


def settle(running):
    """Waits until children of past sessions have ended: what their end costs is theirs."""
    for _ in range(20):
        time.sleep(0.1)
        if len(running.pids()) <= 2:
            return


def save(load, running, server, work, on):
    """Phones save, each is asked who it is, and all that was acknowledged is read back."""
    shutil.rmtree(work / "vault", ignore_errors=True)
    ledger = work / "acknowledged"
    ledger.unlink(missing_ok=True)
    phones = ["--with-extension", "--snmp", str(SNMP_PORT), "--again-after", "1s"]
    before = running.cpu_us()
    report = storm(load, work, on, *phones, "--save", str(SAVED), "--phones", str(PHONES),
                   "--ramp", f"{WITHIN_S - 1}s", "--acknowledged", str(ledger))
    cpu_s = (running.cpu_us() - before) / 1e6
    kept = storm(load, work, on, *phones, "--verify", str(ledger))["groups"][0]
    group = report["groups"][0]
    refused = group["files_failed"] + sum(group["refusals"].values())
    good = not refused and group["files_good"] == kept["files_good"] == PHONES
    return {"durable_s": report["seconds"] if good else float("inf"),
            "saved": group["files_good"], "refused": refused, "read_back": kept["files_good"],
            "p50_ms": group["session"]["p50_ms"], "p99_ms": group["session"]["p99_ms"],
            "cpu_s": cpu_s, "peak_mib": running.peak_bytes / MIB, "tool_busy": report["tool_busy"]}


def idle(load, running, server, work, on):
    """Memory of the server, and of its children, with every session logged in."""
    before = running.resident()
    sessions = [session for session in (logged_in() for _ in range(IDLE)) if session]
    time.sleep(crowd.SETTLE_S)
    grown = running.resident() - before
    processes = len(running.pids())
    for session in sessions:
        session.close()
    return {"grown_mib": grown / MIB, "each_kib": grown / max(len(sessions), 1) / KIB,
            "sessions": len(sessions), "processes": processes}


def logged_in():
    """One more session, or nothing where the server has enough of them."""
    session = socket.create_connection(("127.0.0.1", 21), timeout=5)
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        replies = session.makefile("rb")
        for line in (b"", b"USER anonymous\r\n", b"PASS phone@\r\n"):
            session.sendall(line)
            reply = next(told for told in replies if re.match(rb"\d{3} ", told))
            if reply.startswith(b"230"):
                return session
            if reply[:1] not in b"23":
                break
    except (OSError, StopIteration):
        pass
    session.close()
    return None


# --- all runs ----------------------------------------------------------------------------------

def one_run(server, load, work, trace=False):
    """Runs a load against a server; the figures, or None if the server is not here."""
    command = command_of(server, work, load)
    if not command:
        return None
    for_server, for_load = http.cores()
    counts = work / "strace.txt" if trace else None
    with open(work / f"{server}.log", "ab") as log:
        running = Server(command, counts, for_server, log)
    try:
        if not running.wait_until(lambda: answers(load, work)):
            say(f"  {server} does not start: {(work / f'{server}.log').read_text()[-2_000:]}")
            return None
        if trace:
            done, _, _ = ask(load, 2 if "large" in load.name else TRACED, work, for_load)
        else:
            kind = {"ftp-save": save, "ftp-idle": idle}.get(load.name, rate)
            figures = kind(load, running, server, work, for_load)
    finally:
        running.stop()
    return calls_in(counts) / max(done, 1) if trace else figures


def compare(load, work, pairs):
    prepare(work)
    servers = ["ringpost"] if load.alone else ["ringpost", "vsftpd", "pure-ftpd"]
    rounds = {server: [] for server in servers}
    for number in range(pairs):
        # Every second round goes the other way, so that what drifts favours nobody.
        for server in servers if number % 2 == 0 else servers[::-1]:
            figures = one_run(server, load, work)
            if figures:
                rounds[server].append(figures)
                say(f"  {load.name} {number + 1}/{pairs} {server}: "
                    + ", ".join(f"{key} {shown(value)}" for key, value in figures.items()))
    for server in servers:
        if load.is_rate and rounds[server] and shutil.which("strace"):
            calls = one_run(server, load, work, trace=True)
            for figures in rounds[server]:
                figures["calls_each"] = calls
    ours = rounds["ringpost"]
    summary = {server: http.summary(runs, ours, load.metric) if load.is_rate
               else crowd.summary(runs) for server, runs in rounds.items()}
    return {"name": load.name, "what": load.what, "metric": load.metric, "unit": load.unit,
            "bar": load.bar, "servers": summary}


def markdown(results):
    less = crowd.LESS_IS_BETTER | LESS_IS_BETTER
    rates = [load for load in results if load["metric"] not in less]
    crowds = [load for load in results if load not in rates]
    return "\n".join([table(load) for load in rates] + [crowd.markdown(crowds)])


def table(load):
    wall, of_wall = ("mb_per_s", "MB a second") if load["metric"] == "mb_per_cpu_s" else (
        "done_per_s", "sessions a second")
    lines = [f"**{load['what']}**", "",
             f"| server | {load['unit']} | {of_wall} | busy | CPU us each | calls each "
             "| 99 % within ms | peak MiB | failed | Ringpost is better by | bar |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for server, one in load["servers"].items():
        if one is None:
            lines.append(f"| {server} | not here | | | | | | | | | |")
            continue
        middle, verdict = one["median"], ["", ""]
        if server != "ringpost" and one["ratios"]:
            times = statistics.median(one["ratios"])
            verdict[0] = f"{times:.2f} x ({min(one['ratios']):.2f} to {max(one['ratios']):.2f})"
            if load["bar"]:
                verdict[1] = f"{load['bar']:.1f} x: {'met' if times >= load['bar'] else 'missed'}"
        lines.append(
            f"| {server} | {shown(middle[load['metric']])} | {shown(middle[wall])} "
            f"| {middle['busy']:.0%} | {middle['cpu_us_each']:.0f} "
            f"| {shown(middle.get('calls_each'))} | {shown(middle.get('p99_ms'))} "
            f"| {shown(middle['peak_mib'])} | {shown(middle['failed'])} "
            f"| {verdict[0]} | {verdict[1]} |")
    return "\n".join([*lines, ""])
