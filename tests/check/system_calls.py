#!/usr/bin/env python3
"""The core reaches the machine only through platform/: system_calls.py BUILD_TREE.

Looks at what the core's object files, platform/linux apart, leave to the linker.
"""
import pathlib
import re
import subprocess
import sys

# Functions of libc that are system calls, or thin covers of them, by family.
SYSTEM_CALLS = re.compile(
    r"(?:open|openat|close|dup[23]?|fcntl|ioctl|f?stat|fstatat|lseek|p?readv?|p?writev?|f(?:data)?sync"
    r"|socket(?:pair)?|bind|listen|accept4?|connect|shutdown|getsockopt|setsockopt|getsockname"
    r"|getpeername|send(?:to|msg|mmsg|file)?|recv(?:from|msg|mmsg)?|poll|ppoll|p?select"
    r"|epoll_\w+|eventfd\w*|timerfd_\w+|signalfd|pipe2?|mmap|munmap|madvise|mprotect|mlock"
    r"|pthread_(?:create|join|detach|sigmask|kill|setname_np|setaffinity_np|atfork)"
    r"|sigaction|signal|raise|kill|fork|vfork|clone|exec\w+|wait(?:pid|id|4)?|getpid|gettid"
    r"|clock_\w+|gettimeofday|time|nanosleep|usleep|sleep|sched_\w+|syscall|prctl|malloc|calloc"
    r"|aligned_alloc|posix_memalign|numa_\w+|mbind|[gs]et_mempolicy)(?:64)?")


def undefined_symbols(path):
    output = subprocess.run(["nm", "--undefined-only", path], check=True, capture_output=True,
                            text=True).stdout
    return {line.split()[-1] for line in output.splitlines() if line.split()}


def main():
    targets = pathlib.Path(sys.argv[1]) / "runtime/CMakeFiles"
    looked_at = 0
    problems = []
    for path in sorted(targets.glob("completionport_*_objects.dir/**/*.o")):
        relative = path.relative_to(targets)
        if "platform" in relative.parts:
            continue
        looked_at += 1
        for name in sorted(undefined_symbols(path)):
            if SYSTEM_CALLS.fullmatch(name):
                problems.append(f"{relative}: calls {name}, which belongs in platform/linux")
    if looked_at == 0:
        problems.append(f"{targets}: no object files of the core")
    print("\n".join(problems) if problems else f"{looked_at} objects make no system call")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
