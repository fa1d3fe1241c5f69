"""HTTP and HTTPS: Ringpost beside nginx, one worker each, on a core that the load does not use.

What counts is how much is served for a second of the server's CPU time: its control group's, else
that of /proc for every process and thread. wrk asks for files, openssl s_time shakes hands. Before
it is timed each server must give every byte of the file, and say the suite that the load is about.
"""

import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

from compared.machine import KIB, MIB, REPO, Server, calls_in, environment, say, shown, unpacked

FILES = {"small.cfg": 2 * KIB, "settings.txt": 32 * KIB, "image.bin": MIB}
PLAIN, SECURE = "http://127.0.0.1:80", "https://127.0.0.1:443"
WARM_S, MEASURED_S = 1, 5
# s_time has one connection at a time, so several of them keep the server from idling.
SHAKERS = 4
REQUESTS_MAX = 100_000_000
SUITES = {
    "tls12": ("TLSv1.2", ["-tls1_2", "-cipher",
                          "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"]),
    "tls13": ("TLSv1.3", ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"]),
}
NGINX = """\
user root; worker_processes 1; worker_rlimit_nofile 100000; daemon off; pid {work}/nginx.pid;
error_log {work}/nginx.log warn;
events {{ worker_connections 40000; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; etag on; default_type text/plain;
  open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s; open_file_cache_min_uses 1;
  keepalive_timeout 75s; keepalive_requests {requests};
  client_body_temp_path {work}/nginx-body; proxy_temp_path {work}/nginx-proxy;
  fastcgi_temp_path {work}/nginx-fastcgi; uwsgi_temp_path {work}/nginx-uwsgi;
  scgi_temp_path {work}/nginx-scgi;
  ssl_certificate {work}/{key}.pem; ssl_certificate_key {work}/{key}.key;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_session_timeout 1h;
  ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384;
  ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
  server {{
    listen 127.0.0.1:80 backlog=4096; listen 127.0.0.1:443 ssl backlog=4096; root {work}/files;
  }}
}}
"""
RINGPOST = """\
data_dir = "{work}"
workers = 1
[[http]]
listen = ["127.0.0.1:80"]
root = ["files"]
[[https]]
listen = ["127.0.0.1:443"]
root = ["files"]
certificate = "{key}.pem"
key = "{key}.key"
[connections]
per_address = 0
requests_max = {requests}
[log]
level = "warn"
"""


class Load:
    """One load: who asks for what and how, and by how much Ringpost should be better."""

    def __init__(self, name, what, ask, file, bar, connections=100, key="p256", version=None):
        self.name, self.what, self.ask, self.file, self.bar = name, what, ask, file, bar
        self.connections, self.key, self.version = connections, key, version
        in_bytes = FILES[file] >= 32 * KIB
        self.metric = "mb_per_cpu_s" if in_bytes else "done_per_cpu_s"
        noun = "handshakes" if ask in ("new", "reuse") else "requests"
        self.unit = f"{'MB' if in_bytes else noun} a server CPU second"


LOADS = [
    Load("http-2k", "2 KB over HTTP, 100 connections kept alive", "keep", "small.cfg", 1.3),
    Load("http-32k", "32 KiB over HTTP, 100 connections kept alive", "keep", "settings.txt", 1.0),
    Load("http-1m", "1 MiB over HTTP, 20 connections kept alive", "keep", "image.bin", 1.0,
         connections=20),
    Load("http-connect", "2 KB over HTTP, a connection for each request", "close", "small.cfg",
         1.1),
    Load("https-full-p256", "full handshake, TLS 1.3, P-256, and 2 KB", "new", "small.cfg", 1.3,
         version="tls13"),
    Load("https-full-p256-tls12", "full handshake, TLS 1.2, P-256, and 2 KB", "new", "small.cfg",
         1.3, version="tls12"),
    Load("https-full-rsa", "full handshake, TLS 1.3, RSA 2048, and 2 KB", "new", "small.cfg", 1.3,
         key="rsa", version="tls13"),
    Load("https-full-rsa-tls12", "full handshake, TLS 1.2, RSA 2048, and 2 KB", "new",
         "small.cfg", 1.3, key="rsa", version="tls12"),
    Load("https-resumed", "resumed handshake, TLS 1.3, and 2 KB", "reuse", "small.cfg", 1.3,
         version="tls13"),
    Load("https-resumed-tls12", "resumed handshake, TLS 1.2, and 2 KB", "reuse", "small.cfg", 1.3,
         version="tls12"),
    Load("https-2k", "2 KB over TLS 1.3, 100 connections kept alive", "keep", "small.cfg", 1.0,
         version="tls13"),
    Load("https-1m", "1 MiB over TLS 1.3 AES-256-GCM, 20 connections kept alive", "keep",
         "image.bin", 1.0, connections=20, version="tls13"),
]


def cores():
    """A core for the server and the others for the load; none where there is only one."""
    have = sorted(os.sched_getaffinity(0))
    return ({have[-1]}, set(have[:-1])) if len(have) > 1 else (None, None)


# --- the servers -------------------------------------------------------------------------------

def prepare(work):
    """Files, certificates, and as many ports as a storm of connections takes."""
    (work / "files").mkdir(exist_ok=True)
    for name, size in FILES.items():
        (work / "files" / name).write_bytes(os.urandom(size))
    for key, options in (("p256", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
                         ("rsa", ["rsa:2048"])):
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=compared", "-addext",
             "subjectAltName=IP:127.0.0.1", "-newkey", *options,
             "-keyout", str(work / f"{key}.key"), "-out", str(work / f"{key}.pem")],
            check=True, capture_output=True)
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")


def command_of(server, work, load):
    """The command line that starts a server, or None if it is not here."""
    text = NGINX if server == "nginx" else RINGPOST
    config = work / ("nginx.conf" if server == "nginx" else "ringpost-http.toml")
    config.write_text(text.format(work=work, key=load.key, requests=REQUESTS_MAX))
    if server == "nginx":
        program = unpacked("nginx")
        return program and [program, "-c", str(config), "-p", str(work), "-e",
                            str(work / "nginx.log")]
    binary = REPO / "target/release/ringpost"
    return [str(binary), "serve", "--config", str(config)] if binary.exists() else None


def base_of(load):
    return SECURE if load.version else PLAIN


def context_of(load):
    """What a client of the load's version trusts: everybody, for this is about speed."""
    if not load.version:
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = (
        ssl.TLSVersion.TLSv1_2 if load.version == "tls12" else ssl.TLSVersion.TLSv1_3)
    return context


def answers(load, work):
    """Whether the server gives the load's file, byte for byte, within a moment."""
    try:
        with urllib.request.urlopen(f"{base_of(load)}/{load.file}", timeout=1,
                                    context=context_of(load)) as answer:
            return answer.read() == (work / "files" / load.file).read_bytes()
    except OSError:
        return False


def expect_the_suite(load):
    """Both servers must have agreed to the same suite, or the comparison means nothing."""
    if not load.version:
        return
    with socket.create_connection(("127.0.0.1", 443), timeout=2) as plain:
        with context_of(load).wrap_socket(plain) as secured:
            suite, version, _ = secured.cipher()
    letters = suite.replace("-", "").replace("_", "")
    if version != SUITES[load.version][0] or not letters.endswith("AES256GCMSHA384"):
        raise SystemExit(f"{load.name}: the server chose {version} with {suite}")


# --- the load ----------------------------------------------------------------------------------

def pinned(command, on):
    return ["taskset", "-c", ",".join(map(str, sorted(on))), *command] if on else command


def ask(load, seconds, on):
    """Runs the load; what was done, what failed, how long the slowest of 100 took in ms."""
    if load.ask in ("new", "reuse"):
        return shake(load, seconds, on)
    return heard(start(load, seconds, on).communicate(timeout=seconds + 60)[0])


def start(load, seconds, on):
    """wrk, on its way."""
    program = unpacked("wrk")
    if not program:
        raise SystemExit("wrk is not installed: tools/compare --install fetches it")
    command = [program, "-t1", f"-c{load.connections}", f"-d{seconds}s", "--latency"]
    if load.ask == "close":
        command += ["-H", "Connection: close"]
    command.append(f"{base_of(load)}/{load.file}")
    return subprocess.Popen(pinned(command, on), stdout=subprocess.PIPE, text=True,
                            env=environment())


def heard(said):
    """What wrk says at its end."""
    done = int(re.search(r"(\d+) requests in", said)[1])
    failed = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    for errors in re.findall(r"Socket errors: (.*)", said):
        failed += sum(int(number) for number in re.findall(r"\d+", errors))
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    return done, failed, float(slow[1]) * scale[slow[2]] if slow else None


def shake(load, seconds, on):
    """Handshakes with one GET each; a session that should be resumed and is not has failed."""
    command = ["openssl", "s_time", "-connect", "127.0.0.1:443", f"-{load.ask}", "-time",
               str(seconds), "-www", f"/{load.file}", *SUITES[load.version][1]]
    shakers = [subprocess.Popen(pinned(command, on), stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.DEVNULL) for _ in range(SHAKERS)]
    resumed = full = short = 0
    for shaker in shakers:
        said, _ = shaker.communicate(timeout=seconds + 60)
        # A letter for each handshake: r for a resumed one.
        letters = max(re.findall(r"^[rt3*]+$", said, re.M), key=len, default="")
        resumed += letters.count("r")
        full += len(letters) - letters.count("r")
        per_connection = re.search(r"(\d+) bytes read per connection", said)
        short += len(letters) * (per_connection is None
                                 or int(per_connection[1]) < FILES[load.file])
    if load.ask == "new":
        return full, resumed + short, None
    # Each of them begins with one that cannot be resumed.
    return resumed, max(full - SHAKERS, 0) + short, None


def one_run(server, load, work, trace=False):
    """Runs a load against a server; the figures, or None if the server is not here."""
    command = command_of(server, work, load)
    if not command:
        return None
    for_server, for_load = cores()
    counts = work / "strace.txt" if trace else None
    with open(work / f"{server}.log", "ab") as log:
        running = Server(command, counts, for_server, log)
    try:
        if not running.wait_until(lambda: answers(load, work)):
            say(f"  {server} does not start: {(work / f'{server}.log').read_text()[-2_000:]}")
            return None
        expect_the_suite(load)
        if trace:
            done, _, _ = ask(load, 2, for_load)
        else:
            figures = measured(load, running, for_load)
    finally:
        running.stop()
    return calls_in(counts) / max(done, 1) if trace else figures


def measured(load, running, for_load):
    if load.ask in ("keep", "close"):
        ask(load, WARM_S, for_load)
    cpu_before, began = running.cpu_us(), time.monotonic()
    done, failed, p99_ms = ask(load, MEASURED_S, for_load)
    cpu_us, seconds = running.cpu_us() - cpu_before, time.monotonic() - began
    per_cpu_s = done / max(cpu_us, 1) * 1e6
    return {
        "done": done, "failed": failed, "seconds": seconds, "cpu_us": cpu_us,
        "done_per_s": done / seconds, "done_per_cpu_s": per_cpu_s,
        "mb_per_cpu_s": per_cpu_s * FILES[load.file] / 1e6,
        "cpu_us_each": cpu_us / max(done, 1), "busy": cpu_us / 1e6 / seconds,
        "p99_ms": p99_ms, "peak_bytes": running.peak_bytes,
    }


# --- all runs ----------------------------------------------------------------------------------

def compare(load, work, pairs):
    if not (work / "p256.pem").exists():
        prepare(work)
    servers = ["ringpost", "nginx"]
    rounds = {server: [] for server in servers}
    for number in range(pairs):
        # Every second round goes the other way, so that what drifts favours nobody.
        for server in servers if number % 2 == 0 else servers[::-1]:
            figures = one_run(server, load, work)
            if figures is None:
                continue
            rounds[server].append(figures)
            say(f"  {load.name} {number + 1}/{pairs} {server}: {shown(figures[load.metric])} "
                f"{load.unit}, {shown(figures['done_per_s'])}/s, {figures['failed']} failed, "
                f"{figures['cpu_us_each']:.2f} us each, {figures['busy']:.0%} busy")
    for server in servers:
        if rounds[server] and shutil.which("strace"):
            calls = one_run(server, load, work, trace=True)
            for figures in rounds[server]:
                figures["calls_each"] = calls
    ours = rounds["ringpost"]
    return {
        "name": load.name, "what": load.what, "metric": load.metric, "unit": load.unit,
        "bar": load.bar, "servers": {server: summary(runs, ours, load.metric)
                                     for server, runs in rounds.items()},
    }


def summary(runs, ours, metric):
    if not runs:
        return None
    keys = [key for key in runs[0] if isinstance(runs[0][key], (int, float))]
    median = {key: statistics.median(run[key] for run in runs) for key in keys}
    each = [mine[metric] / run[metric] for mine, run in zip(ours, runs) if run[metric] > 0]
    return {"median": median, "runs": runs, "ratios": each,
            "ratio": {metric: statistics.median(each)} if each else {}}


def markdown(results):
    lines = []
    for load in results:
        lines += [f"**{load['what']}**", "",
                  f"| server | {load['unit']} | a second | busy | CPU us each | calls each "
                  "| 99 % within ms | failed | Ringpost is better by | bar |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        for server, one in load["servers"].items():
            if one is None:
                lines.append(f"| {server} | not here | | | | | | | | |")
                continue
            middle = one["median"]
            verdict = ["", ""]
            if server != "ringpost" and one["ratios"]:
                times = one["ratio"][load["metric"]]
                verdict = [f"{times:.2f} x ({min(one['ratios']):.2f} to {max(one['ratios']):.2f})",
                           f"{load['bar']:.1f} x: {'met' if times >= load['bar'] else 'missed'}"]
            lines.append(
                f"| {server} | {shown(middle[load['metric']])} | {shown(middle['done_per_s'])} "
                f"| {middle['busy']:.0%} | {middle['cpu_us_each']:.2f} "
                f"| {shown(middle.get('calls_each'))} | {shown(middle.get('p99_ms'))} "
                f"| {shown(middle['failed'])} | {verdict[0]} | {verdict[1]} |")
        lines.append("")
    return "\n".join(lines)
