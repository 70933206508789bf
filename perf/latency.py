"""Latencies of the echo servers: at a given rate, beside a flood, and where the server spins."""

import math
import re

import goals
import harness
import servers

# A load that spins stays below the 0.95 s after which Linux lets ordinary threads have a CPU that
# a real-time thread keeps, for 50 ms at once.
WARM_UP_S = 0.2
SECONDS = 0.6
# Connections and bytes of a message.
OPEN_LOOP = ["--connections", 64, "--bytes", 64]
YARDSTICK = "echo_epoll"
ALL = ("cport-echo", "echo_epoll", "echo_libuv", "echo_asio")
SPINNING = ("cport-echo-spin", "echo_epoll", "echo_epoll-spin")
TRIES = 3


class Cell:
    def __init__(self, name, title, names, latency, figures, load=(), of_capacity=None):
        self.name = name
        self.title = title
        self.servers = names
        self.latency = latency  # the member of what the load reports
        self.figures = figures
        self.load = list(load)
        self.of_capacity = of_capacity  # the rate of an open loop


CELLS = (
    Cell("open_50", "open loop, 64 connections, 50 % of capacity", ALL, "latency_us",
         ("p99", "p999"), OPEN_LOOP, 0.5),
    Cell("open_80", "open loop, 64 connections, 80 % of capacity", ALL, "latency_us",
         ("p99", "p999"), OPEN_LOOP, 0.8),
    Cell("quiet_1k", "a quiet connection beside 63 with 16 x 1 KiB in flight", ALL,
         "quiet_latency_us", ("p99",),
         ["--connections", 63, "--bytes", 1024, "--depth", 16, "--quiet"]),
    Cell("quiet_16k", "a quiet connection beside 63 with 16 x 16 KiB in flight", ALL,
         "quiet_latency_us", ("p99",),
         ["--connections", 63, "--bytes", 16384, "--depth", 16, "--quiet"]),
    Cell("one", "one connection, the load spins", SPINNING, "latency_us", ("p50",), ["--spin"]),
)


def measure_capacity(options):
    """Messages a second that the yardstick echoes when each answer lets the next message go."""
    rates = [servers.drive(options, YARDSTICK, OPEN_LOOP, WARM_UP_S, SECONDS)
             ["messages_per_second"] for _ in range(TRIES)]
    return harness.median(rates)


def is_late(measured, cell):
    """Whether more than half of a latency is the load's own lateness: then it says nothing."""
    return any(measured["late_us"][f] > measured[cell.latency][f] / 2 for f in cell.figures)


def measure(options, name, cell, rate):
    """One server's latencies; again where the load did not keep its schedule."""
    load = cell.load if rate is None else [*cell.load, "--rate", rate]
    for _ in range(TRIES):
        measured = servers.drive(options, name, load, WARM_UP_S, SECONDS)
        late = rate is not None and is_late(measured, cell)
        if not late:
            break
    figures = {f"{f}_us": measured[cell.latency][f] for f in ("p50", "p99", "p999")}
    figures["late_p999_us"] = measured["late_us"]["p999"] if rate is not None else 0
    figures["messages_per_second"] = round(measured["messages_per_second"])
    return figures, late


def summarize(cell, columns, baseline):
    summary = {}
    for name, figures in columns.items():
        summary[name] = {f"{f}_median": harness.median(values) for f, values in figures.items()}
        if name != baseline:
            summary[name]["ratio"] = {
                f: harness.ratio_with_interval(figures[f"{f}_us"], columns[baseline][f"{f}_us"])
                for f in cell.figures}
    return summary


def show(cell, rate, summary, baseline, late):
    asked = "" if rate is None else f", {rate} messages/s"
    print(f"\nlatency, {cell.title}{asked}; ratios to {baseline}, 95 % interval")
    heads = "".join(f"{f + ' us':>9}" for f in ("p50", "p99", "p999"))
    print(f"  {'':15} {'msg/s':>9}{heads}  " + "  ".join(f"{f} ratio" for f in cell.figures))
    for name, figures in summary.items():
        values = "".join(f"{figures[f'{f}_us_median']:9.1f}" for f in ("p50", "p99", "p999"))
        ratios = "  ".join(harness.show_ratio(r) for r in figures.get("ratio", {}).values())
        print(f"  {name:15} {figures['messages_per_second_median']:9.0f}{values}  {ratios}")
    if late:
        print(f"  INVALID: the load fell behind its schedule ({', '.join(late)})")


def run_cell(options, cell, names, capacity):
    rate = cell.of_capacity and math.floor(cell.of_capacity * capacity)
    columns = {n: {} for n in names}
    late = []
    for number in range(options.pairs):
        for name in harness.alternating(names, number):
            figures, behind = measure(options, name, cell, rate)
            if behind:
                late.append(f"{name} in pair {number + 1}")
            for figure, value in figures.items():
                columns[name].setdefault(figure, []).append(value)
        first = f"{cell.figures[0]}_us"
        said = "  ".join(f"{n} {columns[n][first][-1]:.1f}" for n in names)
        print(f"{cell.name} {first} pair {number + 1}/{options.pairs}: {said}", flush=True)
    summary = summarize(cell, columns, YARDSTICK)
    show(cell, rate, summary, YARDSTICK, late)
    verdicts = goals.of_latency_cell(cell.name, cell.figures, columns, bool(late))
    goals.show(verdicts)
    return {"cell": cell.name, "title": cell.title, "messages_per_second_asked": rate,
            "baseline": YARDSTICK, "load_was_late": late, "figures": cell.figures,
            "summary": summary, "goals": verdicts, "pairs": columns}


def run(options):
    """The report of all cells, or of those that --only asks for."""
    chosen = []
    for cell in CELLS:
        wanted = [n for n in cell.servers if re.search(options.only, f"{cell.name}/{n}")]
        if wanted:
            needed = goals.latency_baselines(cell.name)
            chosen.append((cell, [n for n in cell.servers if n in wanted or n in needed]))
    if not chosen:
        return {}
    capacity = measure_capacity(options)
    print(f"latency: capacity of {YARDSTICK}: {capacity:.0f} messages/s", flush=True)
    return {"capacity_messages_per_second": round(capacity), "seconds": SECONDS,
            "cells": [run_cell(options, cell, names, capacity) for cell, names in chosen]}
