"""A site that boots over TFTP and HTTP at once: script, settings, and firmware for a third of it.

Two ringstorms play the phones, one for each protocol. Rivals are Ringpost without an order of
service, and dnsmasq for TFTP with nginx for HTTP.
"""

import json
import os
import shlex
import subprocess

from compared import http, pictures, tftp
from compared.machine import KIB, MIB, REPO, Server, say, shown

FILES = {"script.txt": 4 * KIB, "settings.txt": 32 * KIB, "image.bin": MIB}
# Half of 5,000 phones over each protocol; every third of them takes the firmware.
PLAIN, WITH_FIRMWARE = 1_667, 833
GROUPS = ["--group", f"phones={PLAIN},file=script.txt,file=settings.txt",
          "--group", f"phones={WITH_FIRMWARE},file=script.txt,file=settings.txt,file=image.bin"]
RINGPOST = """\
data_dir = "{work}"
[tftp]
listen = ["127.0.0.1:69"]
root = ["files"]
[[http]]
listen = ["127.0.0.1:80"]
root = ["files"]
[http_limits]
per_address = 0
[log]
level = "warn"
"""


class Load(tftp.Load):
    """One load: its phones are the same for both protocols."""


LOADS = [
    Load("storm-boot", "5,000 phones at once over TFTP and HTTP: script, settings, and 1 MiB of "
         "firmware for a third of them", "back_p50_s", "s until half are back",
         ["first_come", "dnsmasq + nginx"], "", is_storm=True),
]


def command_of(server, work, load):
    """The command line that starts a server, or None if it is not here."""
    if server == "dnsmasq + nginx":
        both = [tftp.command_of("dnsmasq", work, load), http.command_of("nginx", work, HTTP)]
        if not all(both):
            return None
        dnsmasq, nginx = (" ".join(map(shlex.quote, command)) for command in both)
        return ["sh", "-c", f"{nginx} & exec {dnsmasq}"]
    order = '[storm]\norder = "first_come"\n' if server == "first_come" else ""
    config = work / "ringpost-mixed.toml"
    config.write_text(RINGPOST.format(work=work) + order)
    return [str(REPO / "target/release/ringpost"), "serve", "--config", str(config)]


# What is asked for to see whether HTTP is served.
HTTP = http.Load("mixed", "", "keep", "settings.txt", None)


def one_run(server, load, work):
    command = command_of(server, work, load)
    if not command:
        return None
    with open(work / f"mixed-{server}.log", "ab") as log:
        running = Server(command, None, None, log)
    try:
        ready = lambda: tftp.answers() and http.answers(HTTP, work)
        if not running.wait_until(ready):
            say(f"  {server} does not start")
            return None
        cpu_before = running.cpu_us()
        reports = storm(load, work)
        cpu_us = running.cpu_us() - cpu_before
        peak_bytes = running.peak_bytes
    finally:
        running.stop()
    back = pictures.merged([report["back"] for report in reports])
    return {"phones": back["phones"], "served": back["back"], "cpu_us": cpu_us,
            "cpu_us_per_block": cpu_us / max(sum(moved(one) for one in reports) / 512, 1),
            "peak_bytes": peak_bytes, "seconds": max(report["seconds"] for report in reports),
            **pictures.figures(back)}


def moved(report):
    return sum(group["bytes"] for group in report["groups"])


def storm(load, work):
    """Both ringstorms at the same time; what each says at its end."""
    running = []
    for name, server, options in (
            ("tftp", "127.0.0.1:69", ["--blksize", "1428", "--timer", "1s", "--tries", "10"]),
            ("http", http.PLAIN, ["--tries", "30"])):
        out = work / f"mixed-{name}.json"
        out.unlink(missing_ok=True)
        command = [str(REPO / "target/release/ringstorm"), server, *options, *GROUPS, "--root",
                   str(work / "files"), "--give-up", f"{load.give_up_s}s", "--json", str(out),
                   "--quiet"]
        running.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), out))
    for process, _ in running:
        process.wait(load.give_up_s + 60)
    return [json.loads(out.read_text()) for _, out in running]


def compare(load, work, pairs):
    if not (work / "p256.pem").exists():
        http.prepare(work)
    for name, size in FILES.items():
        if not (work / "files" / name).exists():
            (work / "files" / name).write_bytes(os.urandom(size))
    rounds = {server: [] for server in ["ringpost", *load.rivals]}
    for number in range(pairs):
        for server in list(rounds)[::1 if number % 2 == 0 else -1]:
            figures = one_run(server, load, work)
            if figures:
                rounds[server].append(figures)
                say(f"  {load.name} {number + 1}/{pairs} {server}: half after "
                    f"{shown(figures['back_p50_s'])} s, 99 % {shown(figures['back_p99_s'])} s, all "
                    f"{shown(figures['back_max_s'])} s, {shown(figures['phone_seconds'])} "
                    f"phone-seconds, {figures['served']} of {figures['phones']}")
    return {"name": load.name, "what": load.what, "metric": load.metric, "unit": load.unit,
            "is_storm": True,
            "servers": {server: tftp.summary(runs, rounds["ringpost"], load.metric)
                        for server, runs in rounds.items()}}


markdown = tftp.markdown
