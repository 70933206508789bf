"""What the project promises, and whether a run shows it.

A goal is missed when the whole 95 % interval lies beyond its limit; it is met when the mean
keeps it; between the two the run does not tell.
"""

import math

import harness

SMALL_MESSAGE_BYTES = 1024
FEW_CONNECTIONS = 64
PRODUCT = "cport-echo"
YARDSTICK = "echo_epoll"
PEERS = ("echo_libuv", "echo_asio")

# Group: (contender, baseline or several of which the best counts, the ratio at most).
MICRO = {
    # In a process of one thread, and on a thread of its own: each against its like.
    "ready_unix": (("port_driven", ("asio",), 0.85), ("port", ("asio_on_worker",), 0.85),
                   ("port_driven", ("epoll_level",), 0.8)),
    "ready_tcp": (("port_driven", ("asio",), 0.85), ("port", ("asio_on_worker",), 0.85),
                  ("port_driven", ("epoll_level",), 0.8)),
    "post_same_thread": (("port", ("asio",), 0.6),),
    "post_one_to_one": (("port", ("asio",), 0.25),),
    "post_four_to_one": (("port", ("asio",), 0.25),),
    "hand_off": (("port_add", ("eventfd",), 1.1), ("port_add_remove_foreign", ("eventfd",), 1.3)),
    "hand_off_four": (("port_add", ("eventfd",), 1.1),),
    # The wheel alone, and all that the C API puts around it.
    "timer_insert": (("wheel", ("libuv", "asio"), 0.05),
                     ("port_driven", ("libuv", "asio"), 0.05)),
    "timer_cancel": (("wheel", ("libuv", "asio"), 0.05),
                     ("port_driven", ("libuv", "asio"), 0.05)),
    "timer_expire": (("wheel", ("libuv", "asio"), 0.35),
                     ("port_driven", ("libuv", "asio"), 0.35)),
    "idle_bytes": (("port_pooled", ("libuv",), 0.75), ("port_add", ("libuv",), 0.75)),
    # What waits costs nothing: 15,000 such descriptors against 10.
    "idle_event": (("port_15000", ("port_10",), 1.05),),
    # Two workers do one's work in at most this part of its time.
    "workers": (("two", ("one",), 1 / 1.8),),
}
# Cell: (contender, baselines of which the best counts, the ratio at most), for each figure of it.
_SERVERS = ("echo_epoll", "echo_libuv", "echo_asio")
LATENCY = {
    "open_50": ((PRODUCT, _SERVERS, 1.0),),
    "open_80": ((PRODUCT, _SERVERS, 1.0),),
    "quiet_1k": ((PRODUCT, _SERVERS, 1.0),),
    "quiet_16k": ((PRODUCT, _SERVERS, 1.0),),
    "one": (("cport-echo-spin", ("echo_epoll",), 0.6),
            ("cport-echo-spin", ("echo_epoll-spin",), 1.05)),
}
# Group: (contender, figure, at most).
MICRO_FIGURES = {
    "add_remove": (("port_owner", "ns", 1300), ("port_owner_1000_idle", "ns", 1300)),
    "end_of_idle": (("port", "ns", 100_000),),
    "idle_bytes": (("port_pooled", "bytes", 192), ("port_add", "bytes", 192)),
}


def verdict(ratio, limit, at_least):
    kept = ratio["ratio"] >= limit if at_least else ratio["ratio"] <= limit
    if kept:
        return "met"
    if ratio["low"] is None:
        return "MISSED"
    reached = ratio["high"] >= limit if at_least else ratio["low"] <= limit
    return "not told apart" if reached else "MISSED"


def judged(text, ratio, limit, at_least):
    word = "at least" if at_least else "at most"
    return {"goal": f"{text}: {word} {round(limit, 3):g}", "figure": ratio,
            "verdict": verdict(ratio, limit, at_least)}


def _echo_limits(connections, message_bytes, depth):
    """(other, figure, limit, at least?) for the product in this cell."""
    if connections >= FEW_CONNECTIONS and message_bytes <= SMALL_MESSAGE_BYTES:
        yield YARDSTICK, "messages_per_second", 0.95, True
        yield YARDSTICK, "server_cpu_s_per_million", 1 / 0.95, False
        for peer in PEERS:
            yield peer, "messages_per_second", 1.0, True
    if message_bytes == 16384 and depth == 16:
        yield YARDSTICK, "messages_per_second", 2.3 if connections < 1000 else 3.2, True
        yield "echo_libuv", "messages_per_second", 1.0, True
        yield "echo_libuv", "p99_us", 0.5, False


def of_echo_cell(cell, columns):
    """Verdicts on one cell's pairs."""
    found = []
    for other, figure, limit, at_least in _echo_limits(*cell):
        if PRODUCT not in columns or other not in columns:
            continue
        ratio = harness.ratio_with_interval(columns[PRODUCT][figure], columns[other][figure])
        found.append(judged(f"{PRODUCT} / {other}, {figure}", ratio, limit, at_least))
    return found


def of_small_messages(cells):
    """Over all cells of small messages: no slower than hand-written epoll. None without any."""
    logs = []
    for cell in cells:
        if cell["message_bytes"] > SMALL_MESSAGE_BYTES or cell["connections"] < FEW_CONNECTIONS:
            continue
        pairs = cell["pairs"]
        if PRODUCT not in pairs or YARDSTICK not in pairs:
            continue
        rates = zip(pairs[PRODUCT]["messages_per_second"], pairs[YARDSTICK]["messages_per_second"])
        logs.append([math.log(mine / theirs) for mine, theirs in rates])
    if not logs:
        return None
    # One value a round: the mean over the cells.
    rounds = [math.exp(sum(values) / len(values)) for values in zip(*logs)]
    ratio = harness.ratio_with_interval(rounds, [1.0] * len(rounds))
    return judged(f"{PRODUCT} / {YARDSTICK}, geometric mean over cells of small messages", ratio,
                  1.0, True)


def _against_the_best(what, promised, columns):
    """Verdicts where less is better, each against the baseline with the least median."""
    found = []
    for contender, baselines, limit in promised:
        there = [b for b in baselines if b in columns]
        if contender not in columns or not there:
            continue
        best = min(there, key=lambda b: harness.median(columns[b]))
        ratio = harness.ratio_with_interval(columns[contender], columns[best])
        found.append(judged(f"{what}: {contender} / {best}", ratio, limit, False))
    return found


def latency_baselines(cell):
    return {b for _, baselines, _ in LATENCY[cell] for b in baselines}


def of_latency_cell(cell, figures, columns, invalid):
    """Verdicts on each figure; none counts where the load was late."""
    found = []
    for figure in figures:
        values = {name: column[f"{figure}_us"] for name, column in columns.items()}
        found += _against_the_best(f"{cell}, {figure}", LATENCY[cell], values)
    for each in found:
        each["verdict"] = "invalid" if invalid else each["verdict"]
    return found


def of_micro_group(group, columns):
    found = _against_the_best(group, MICRO.get(group, ()), columns)
    for contender, figure, limit in MICRO_FIGURES.get(group, ()):
        if contender in columns:
            values = columns[contender]
            taken = harness.ratio_with_interval(values, [1.0] * len(values))
            found.append(judged(f"{group}: {contender}, {figure}", taken, limit, False))
    return found


def show(found):
    for each in found:
        print(f"  goal: {each['goal']}: {harness.show_ratio(each['figure'])}: {each['verdict']}")
