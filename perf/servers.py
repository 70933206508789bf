"""The echo servers, and how one is driven by echo_load."""

import json
import os

import harness

SERVER_CPU = 0
LOAD_CPU = 1
_CPORT_ECHO = ["cport-echo", "serve", "--listen", "tcp://127.0.0.1:0", "--engine"]
COMMANDS = {
    "cport-echo": [*_CPORT_ECHO, "epoll"],
    "cport-echo-uring": [*_CPORT_ECHO, "io_uring"],
    "cport-echo-spin": [*_CPORT_ECHO, "epoll", "--spin", "20ms"],
    "echo_port": ["echo_port", "0"],
    "echo_epoll": ["echo_epoll", "0"],
    "echo_epoll-spin": ["echo_epoll", "0", "spin"],
    "echo_libuv": ["echo_libuv", "0"],
    "echo_asio": ["echo_asio", "0"],
}


def drive(options, name, load, warm_up_s, seconds):
    """What echo_load reports of a server in a fresh process, and the server's processor time."""
    program, *arguments = COMMANDS[name]
    with harness.Server([os.path.join(options.bin, program), *arguments], SERVER_CPU,
                        options.realtime) as server:
        before = server.cpu_seconds()
        command = [os.path.join(options.bin, "echo_load"), "--port", str(server.port),
                   "--warm-up", str(warm_up_s), "--seconds", str(seconds), *map(str, load)]
        said = harness.run_child(command, {LOAD_CPU}, options.realtime, warm_up_s + seconds + 15)
        cpu_s = server.cpu_seconds() - before
    result = json.loads(said)
    result["server_cpu_s_per_million"] = cpu_s / result["messages_with_warm_up"] * 1e6
    return result
