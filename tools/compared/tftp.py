"""TFTP: Ringpost beside dnsmasq, tftpd-hpa, atftpd and a bare loop, all of them on port 69.

The phones are ringstorm's. Syscalls are counted by strace in a run of their own that is not timed.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess

from compared import pictures
from compared.machine import KIB, MIB, REPO, Server, calls_in, say, shaped, shown, unpacked

ADDRESS = ("127.0.0.1", 69)
FILES = {
    "settings.txt": 32 * KIB,
    "first.cfg": 20_000,
    "second.cfg": 20_000,
    "third.cfg": 2_000,
    "small.cfg": 2 * KIB,
    "image.bin": MIB,
    "firmware.bin": 8 * MIB,
    "large.bin": 10_000_000,
}
# A run that takes longer than this is given up; what was not served by then counts as not served.
GIVE_UP_S = 120


class Load:
    """One load: what the phones do, whom it is run against, and which figure is compared."""

    def __init__(self, name, what, metric, unit, rivals, storm, config="", base=None, trace=False,
                 is_storm=False, link=None, give_up_s=GIVE_UP_S):
        self.name, self.what, self.metric, self.unit = name, what, metric, unit
        self.rivals, self.storm, self.config = rivals, storm.split(), config
        self.base, self.trace = base, trace
        # Whether it is about when phones are back, and the rate of the link to them.
        self.is_storm, self.link, self.give_up_s = is_storm, link, give_up_s


# The same server without an order of service, and everybody else.
EVERYBODY = ["first_come", "dnsmasq", "tftpd-hpa", "atftpd", "bare loop"]
# What nobody reads.
UNREAD = ("127.0.0.1", 9)

LOADS = [
    Load("storm", "10,000 phones at once, 32 KiB each, lock-step, timer 1 s", "served_per_s",
         "phones served a second", EVERYBODY,
         "--phones 10000 --file settings.txt --timer 1s --tries 10", is_storm=True),
    Load("storm-18k", "18,000 phones at once, 32 KiB each, lock-step, timer 1 s", "served_per_s",
         "phones served a second", EVERYBODY,
         "--phones 18000 --file settings.txt --timer 1s --tries 10", is_storm=True),
    Load("storm-noise", "10,000 phones at once beside 50,000 datagrams of garbage and 500 forged "
         "requests a second", "back_max_s", "s until all are back", ["noise elsewhere"],
         "--phones 10000 --file settings.txt --timer 1s --tries 10 --junk-pps 50000 --forge 5000 "
         "--forge-pps 500 --forge-wait 1s", is_storm=True),
    Load("storm-thin", "20 phones, 10 MB each, blksize 1428, through a link of 10 Mb/s",
         "phone_seconds", "phone-seconds", EVERYBODY,
         "--phones 20 --file large.bin --blksize 1428 --timer 1s --tries 10", is_storm=True,
         link="10mbit", give_up_s=600),
    Load("boot", "5,000 phones at once, two files of 20 KB, timer 4 s", "served_per_s",
         "phones served a second", ["dnsmasq", "tftpd-hpa"],
         "--phones 5000 --file first.cfg --file second.cfg --timer 4s --tries 5"),
    Load("lockstep", "200 phones, 1 MiB each, 512-byte lock-step", "blocks_per_s", "DATA a second",
         ["dnsmasq", "tftpd-hpa", "atftpd", "bare loop"],
         "--phones 200 --file image.bin --timer 1s", trace=True),
    Load("window", "20 phones, 8 MiB each, blksize 1428, windowsize 16", "mb_per_s", "MB/s",
         ["atftpd"], "--phones 20 --file firmware.bin --blksize 1428 --windowsize 16 --timer 1s",
         trace=True),
    Load("loss", "50 phones, 1 MiB each, 0.5 % loss towards the phone", "served_per_s",
         "phones served a second", ["dnsmasq", "tftpd-hpa", "atftpd"],
         "--phones 50 --file image.bin --timer 1s --loss-in 0.5%"),
    Load("ports", "200 phones, 1 MiB each: a pool of ports against a single port", "blocks_per_s",
         "DATA a second", ["single port"], "--phones 200 --file image.bin --timer 1s"),
    Load("slots", "5,000 phones, three files each, clients_max = 500", "served_per_s",
         "phones served a second", ["no limit"],
         "--phones 5000 --file first.cfg --file second.cfg --file third.cfg --timer 4s --tries 30",
         config="[sessions]\nclients_max = 500\nhold = \"1s\"\n"),
    Load("mixed", "2 KiB files, 100 a second, beside 200 phones that fetch firmware in windows",
         "p99_small_ms", "ms, 99th percentile of the small file", ["atftpd"],
         "--timer 1s --group phones=200,file=firmware.bin,blksize=1428,windowsize=16 "
         "--group rate=100,for=10s,file=small.cfg"),
    Load("junk", "200 phones, 1 MiB each, beside 50,000 datagrams of garbage a second",
         "blocks_per_s", "DATA a second", ["dnsmasq", "without garbage"],
         "--phones 200 --file image.bin --timer 1s --junk-pps 50000"),
    Load("memory", "20,000 transfers open at once", "bytes_per_transfer", "bytes a transfer",
         ["dnsmasq", "tftpd-hpa"],
         "--phones 20000 --file image.bin --kind header-silence --timer 1s"),
    Load("twenty", "20,000 phones at once, 32 KiB each, lock-step, timer 1 s", "served_per_s",
         "phones served a second", ["dnsmasq", "bare loop"],
         "--phones 20000 --file settings.txt --timer 1s --tries 10"),
]
# Of these figures less is better.
LESS_IS_BETTER = {"p99_small_ms", "bytes_per_transfer", "cpu_us_per_block", "calls_per_block",
                  "phone_seconds", "back_p50_s", "back_max_s"}


# --- the servers -------------------------------------------------------------------------------

def ringpost_config(work, load, ports):
    single = 'ports = "single"\n' if ports == "single" else ""
    config = load.config if ports != "unlimited" else ""
    if ports == "first_come":
        config += '[storm]\norder = "first_come"\n'
    path = work / f"ringpost-{ports}.toml"
    path.write_text(
        f'data_dir = "{work}"\n[tftp]\nlisten = ["127.0.0.1:69"]\nroot = ["files"]\n{single}'
        f'{config}[log]\nlevel = "warn"\n'
    )
    return path


def command_of(server, work, load):
    """The command line that starts a server, or None if it is not here."""
    files = str(work / "files")
    if server in ("ringpost", "first_come", "single port", "no limit", "without garbage",
                  "noise elsewhere"):
        ports = {"single port": "single", "no limit": "unlimited",
                 "first_come": "first_come"}.get(server, "pool")
        binary = REPO / "target/release/ringpost"
        config = ringpost_config(work, load, ports)
        return [str(binary), "serve", "--config", str(config)] if binary.exists() else None
    if server == "bare loop":
        binary = REPO / "target/release/examples/bare_loop"
        # It serves one file, whatever it is asked for.
        file = load.storm[load.storm.index("--file") + 1]
        return [str(binary), "127.0.0.1:69", f"{files}/{file}"] if binary.exists() else None
    if server == "dnsmasq":
        program = unpacked("dnsmasq")
        return program and [
            program, "--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--user=root",
            "--enable-tftp", f"--tftp-root={files}", "--tftp-max=15000", "--pid-file=",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--log-facility=/dev/null",
        ]
    if server == "tftpd-hpa":
        program = unpacked("in.tftpd")
        return program and [program, "-L", "-4", "-a", "127.0.0.1:69", "-u", "root", "-s", files]
    program = unpacked("atftpd")
    return program and [
        program, "--daemon", "--no-fork", "--user", "root.root", "--port", "69", "--bind-address",
        "127.0.0.1", "--maxthread", "1000", "--logfile", "/dev/null", "--pidfile",
        str(work / "atftpd.pid"), files,
    ]


def answers():
    """Whether the server says that a file is not there, within a moment."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.settimeout(0.2)
    try:
        probe.sendto(b"\0\1no-such-file\0octet\0", ADDRESS)
        probe.recvfrom(2048)
        return True
    except OSError:
        return False
    finally:
        probe.close()


# --- one run -----------------------------------------------------------------------------------

def one_run(server, load, work, trace=False):
    """Runs a load against a server; the figures, or None if the server is not here."""
    command = command_of(server, work, load)
    if not command:
        return None
    counts = work / "strace.txt" if trace else None
    running = Server(command, counts)
    try:
        if not running.wait_until(answers):
            say(f"  {server} does not start")
            return None
        cpu_before = running.cpu_us()
        with shaped(load.link):
            report = storm(server, load, work)
        figures = figures_of(report)
        figures["cpu_us"] = running.cpu_us() - cpu_before
        figures["idle_bytes"], figures["peak_bytes"] = running.idle_bytes, running.peak_bytes
    finally:
        running.stop()
    blocks = max(figures["blocks"], 1)
    figures["cpu_us_per_block"] = figures["cpu_us"] / blocks
    grown = max(figures["peak_bytes"] - figures["idle_bytes"], 0)
    figures["bytes_per_transfer"] = grown / max(figures["served"], 1)
    if trace:
        figures["calls_per_block"] = calls_in(counts) / blocks
    return figures


def storm(server, load, work):
    out = work / "storm.json"
    out.unlink(missing_ok=True)
    options = list(load.storm)
    if server == "without garbage":
        at = options.index("--junk-pps")
        del options[at:at + 2]
    unread = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if server == "noise elsewhere":
        unread.bind(UNREAD)
        options += ["--noise-to", f"{UNREAD[0]}:{UNREAD[1]}"]
    command = [
        str(REPO / "target/release/ringstorm"), f"{ADDRESS[0]}:{ADDRESS[1]}", *options, "--root",
        str(work / "files"), "--give-up", f"{load.give_up_s}s", "--json", str(out), "--quiet",
    ]
    with unread:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=load.give_up_s + 60, check=False)
    if not out.exists():
        raise SystemExit(f"ringstorm failed: {' '.join(command)}\n{done.stderr}{done.stdout}")
    return json.loads(out.read_text())


def figures_of(report):
    """The figures of ringstorm's report that are compared here."""
    groups = report["groups"]
    total = lambda key: sum(group[key] for group in groups)
    seconds = max(report["seconds"], 1e-3)
    small = groups[-1]
    return {
        "seconds": seconds,
        "phones": total("phones_good") + total("phones_failed"),
        "served": total("phones_good"),
        "blocks": total("blocks"),
        "served_per_s": total("phones_good") / seconds,
        "blocks_per_s": total("blocks") / seconds,
        "mb_per_s": total("bytes") / seconds / 1e6,
        "p99_small_ms": small["file"]["p99_ms"] if small["files_good"] else float("inf"),
        **pictures.figures(report["back"]),
    }


# --- all runs ----------------------------------------------------------------------------------

def compare(load, work, pairs):
    if not (work / "files" / "settings.txt").exists():
        (work / "files").mkdir(exist_ok=True)
        for name, size in FILES.items():
            (work / "files" / name).write_bytes(os.urandom(size))
    servers = ["ringpost"] + load.rivals
    rounds = {server: [] for server in servers}
    for number in range(pairs):
        # Every second round goes the other way, so that what drifts favours nobody.
        for server in servers if number % 2 == 0 else servers[::-1]:
            figures = one_run(server, load, work)
            if figures is None:
                continue
            rounds[server].append(figures)
            say(f"  {load.name} {number + 1}/{pairs} {server}: {shown(figures[load.metric])} "
                f"{load.unit}, {figures['served']} of {figures['phones']} phones in "
                f"{figures['seconds']:.1f} s, half after {shown(figures['back_p50_s'])} s, "
                f"{shown(figures['phone_seconds'])} phone-seconds, "
                f"{figures['cpu_us_per_block']:.2f} us CPU a block, "
                f"{figures['peak_bytes'] / MIB:.1f} MiB")
    for server in servers:
        if load.trace and rounds[server] and shutil.which("strace"):
            traced = one_run(server, load, work, trace=True)
            if traced:
                say(f"  {load.name} {server}: {traced['calls_per_block']:.2f} syscalls a block")
                for figures in rounds[server]:
                    figures["calls_per_block"] = traced["calls_per_block"]
    return {
        "name": load.name, "what": load.what, "metric": load.metric, "unit": load.unit,
        "is_storm": load.is_storm,
        "servers": {server: summary(runs, rounds["ringpost"], load.metric)
                    for server, runs in rounds.items()},
    }


def summary(runs, ours, metric):
    if not runs:
        return None
    keys = [key for key in runs[0] if isinstance(runs[0][key], (int, float))]
    median = {key: statistics.median(run[key] for run in runs) for key in keys}
    ratios = {}
    for key in ({metric} | LESS_IS_BETTER) & set(keys):
        each = [ratio(key, mine[key], run[key]) for mine, run in zip(ours, runs) if key in mine]
        each = [one for one in each if one is not None]
        if each:
            ratios[key] = statistics.median(each)
    return {"median": median, "ratio": ratios, "runs": runs}


def ratio(key, mine, theirs):
    """Above 1 is in Ringpost's favour."""
    better, worse = (theirs, mine) if key in LESS_IS_BETTER else (mine, theirs)
    if worse <= 0 or better == float("inf"):
        return None
    return better / worse


def markdown(results):
    lines = []
    for load in results:
        lines += [f"**{load['what']}**", "",
                  f"| server | {load['unit']} | served | CPU us/block | calls/block | peak MiB "
                  "| Ringpost is better by |", "|---|---|---|---|---|---|---|"]
        for server, one in load["servers"].items():
            if one is None:
                lines.append(f"| {server} | not installed | | | | | |")
                continue
            middle = one["median"]
            times = one["ratio"].get(load["metric"])
            own = server == "ringpost" or times is None
            lines.append(
                f"| {server} | {shown(middle[load['metric']])} "
                f"| {middle['served'] / max(middle['phones'], 1):.1%} "
                f"| {middle['cpu_us_per_block']:.2f} | {shown(middle.get('calls_per_block'))} "
                f"| {middle['peak_bytes'] / MIB:.1f} | {'' if own else f'{times:.2f} x'} |")
        lines.append("")
        if load["is_storm"]:
            lines += returns(load)
    return "\n".join(lines)


def returns(load):
    """When phones were back, as a table; ratios are those of the others to Ringpost."""
    lines = ["| server | half back s | 90 % s | all back s | half / all | phone-seconds "
             "| resends a phone | half x | all x | phone-seconds x |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for server, one in load["servers"].items():
        if one is None:
            continue
        middle, keys = one["median"], ("back_p50_s", "back_max_s", "phone_seconds")
        times = ["" if server == "ringpost" or key not in one["ratio"]
                 else f"{one['ratio'][key]:.2f}" for key in keys]
        part = middle["back_p50_s"] / middle["back_max_s"] if middle["back_max_s"] else 0
        part = f"{part:.2f}" if 0 < part <= 1 and middle["back_max_s"] != float("inf") else "-"
        lines.append(
            f"| {server} | {shown(middle['back_p50_s'])} | {shown(middle['back_p90_s'])} "
            f"| {shown(middle['back_max_s'])} | {part} | {shown(middle['phone_seconds'])} "
            f"| {middle['resends_per_phone']:.2f} | {' | '.join(times)} |")
    return lines + [""]
