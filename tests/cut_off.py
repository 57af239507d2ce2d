"""Run a command in an empty network namespace and say what it tried: the kernel counts packets without a route."""

import contextlib
import fcntl
import socket
import struct
import subprocess
import sys


def no_route():
    # Packets without a route, and datagrams to ports where nobody listens: a resolver on loopback, say.
    with open("/proc/net/snmp") as file:
        lines = [line.split() for line in file]
    old = {
        (names[0], name): int(value)
        for names, values in zip(lines[::2], lines[1::2])
        for name, value in zip(names[1:], values[1:])
    }
    with open("/proc/net/snmp6") as file:
        new = {line.split()[0]: int(line.split()[1]) for line in file}
    return old["Ip:", "OutNoRoutes"] + old["Udp:", "NoPorts"] + new["Ip6OutNoRoutes"] + new["Udp6NoPorts"]


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    # The namespace begins with its loopback interface down; our own server needs it.
    fcntl.ioctl(control, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))
code = subprocess.run(sys.argv[1:], check=False).returncode
attempts = no_route()
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
print(f"attempts={attempts} seen_by_probe={no_route() - attempts}")
sys.exit(code)
