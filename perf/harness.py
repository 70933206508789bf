"""What the benchmarks share: children on their own CPUs, the machine's description, ratios."""

import math
import os
import platform
import re
import select
import signal
import subprocess
import time

REALTIME_PRIORITY = 5
CHILD_END_S = 10

# Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
             2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
             2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


class BenchmarkError(Exception):
    """A child did not do what it was asked for."""


class NotHere(Exception):
    """This machine does not allow the measurement."""


def ratio_with_interval(values, baselines):
    """The geometric mean of the paired ratios, with its 95 % interval."""
    logs = [math.log(a / b) for a, b in zip(values, baselines)]
    mean = sum(logs) / len(logs)
    if len(logs) < 2:
        return {"ratio": round(math.exp(mean), 4), "low": None, "high": None, "pairs": len(logs)}
    variance = sum((x - mean) ** 2 for x in logs) / (len(logs) - 1)
    freedom = len(logs) - 1
    t = STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else 1.96
    half = t * math.sqrt(variance / len(logs))
    return {"ratio": round(math.exp(mean), 4), "low": round(math.exp(mean - half), 4),
            "high": round(math.exp(mean + half), 4), "pairs": len(logs)}


def show_ratio(ratio):
    if ratio["low"] is None:
        return f"{ratio['ratio']:.3f} (one pair)"
    return f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def alternating(names, round_number):
    """A B C, C B A, …: what drifts during a round favours nobody."""
    return names if round_number % 2 == 0 else list(reversed(names))


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              timeout=CHILD_END_S, check=True)
        return done.stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def compiler_of(build):
    """The compiler that made the build, from CMake's cache."""
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as cache:
            found = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache.read(), re.MULTILINE)
    except OSError:
        found = None
    return first_line([found.group(1), "--version"]) if found else "unknown"


def setting(path):
    try:
        with open(f"/proc/sys/{path}", encoding="utf-8") as value:
            return value.read().strip()
    except OSError:
        return "unknown"


def describe_machine(build):
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read(), re.MULTILINE)
        model = found.group(1) if found else model
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "compiler": compiler_of(build),
            # BBR arms a timer for most packets, and Reno and CUBIC do not.
            "tcp_congestion_control": setting("net/ipv4/tcp_congestion_control"),
            # Of each second; -1: real-time threads are never stopped for 50 ms.
            "sched_rt_runtime_us": setting("kernel/sched_rt_runtime_us"),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load_average": round(os.getloadavg()[0], 2)}


def realtime_allowed():
    """Whether a child may have a real-time priority; tried on a child that ends at once."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _prepare(cpus, realtime):
    def prepare():
        os.sched_setaffinity(0, cpus)
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    return prepare


def run_child(command, cpus, realtime, limit_s):
    """Runs a program to its end and returns what it printed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=limit_s, check=False, preexec_fn=_prepare(cpus, realtime))
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{command[0]} did not end within {limit_s} s") from error
    if done.returncode != 0:
        said = done.stderr.strip()
        raise BenchmarkError(f"{' '.join(command)}: status {done.returncode}: {said}")
    return done.stdout


class Server:
    """A server in a child of its own; leaves with the block, by its process id."""

    def __init__(self, command, cpu, realtime):
        self._command = command
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       preexec_fn=_prepare({cpu}, realtime))
        try:
            self.port = self._await_port()
        except BenchmarkError:
            self.end()
            raise

    def _await_port(self):
        said = b""
        deadline = time.monotonic() + CHILD_END_S
        while True:
            found = re.search(rb"listening on tcp://[^\n]*:(\d+)", said)
            if found:
                return int(found.group(1))
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                raise BenchmarkError(f"{self._command[0]} did not listen in time")
            piece = os.read(self._child.stdout.fileno(), 4096)
            if not piece:
                raise BenchmarkError(f"{self._command[0]} ended: {said.decode(errors='replace')}")
            said += piece

    def cpu_seconds(self):
        """The processor time of all its threads: the kernel's clock id of a process."""
        return time.clock_gettime((~self._child.pid << 3) | 2)

    def end(self):
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(timeout=CHILD_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
