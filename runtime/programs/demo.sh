#!/bin/sh
# Shows the echo server at work: messages over many connections, then a large file there and back.
#   demo.sh DIRECTORY_OF_PROGRAMS
# Works on free loopback ports and in a temporary directory, and leaves nothing behind.
set -eu

programs=${1:?usage: demo.sh DIRECTORY_OF_PROGRAMS}
echo_program="$programs/cport-echo"
[ -x "$echo_program" ] || {
    echo "demo: $echo_program is not there: build the release first" >&2
    exit 1
}

directory=$(mktemp -d)
server=
finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$directory"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A named pipe, so that the first line is waited for and not polled for.
mkfifo "$directory/said"
"$echo_program" serve --listen tcp://127.0.0.1:0 --threads 2 >"$directory/said" &
server=$!
exec 3<"$directory/said"
IFS= read -r line <&3 || {
    echo "demo: the server did not start" >&2
    exit 1
}
url=${line#listening on }
echo "1. cport-echo serve runs with two ports, each with a worker of its own, on $url"

echo "2. cport-echo load: 64 connections with 16 messages of 64 bytes in flight on each, for 3 s."
echo "   Every byte that comes back is compared:"
"$echo_program" load --connect "$url" --connections 64 --depth 16 --duration 3s \
    2>"$directory/progress" >"$directory/table" || {
    cat "$directory/table" "$directory/progress" >&2
    exit 1
}
sed 's/^/   | /' "$directory/table"

# Real files of this machine, as often as 64 MiB need.
file="$directory/file"
: >"$file"
while [ "$(wc -c <"$file")" -lt 67108864 ]; do
    cat "$programs"/* /usr/bin/cmake /usr/bin/g++ /bin/sh 2>/dev/null >>"$file" || true
    [ -s "$file" ] || {
        echo "demo: no file to send" >&2
        exit 1
    }
done
echo "3. cport-echo pipe: a file of $(($(wc -c <"$file") / 1048576)) MiB, made of programs of this machine,"
echo "   goes there and back; our side of the stream ends before the last bytes return:"
sent=$(sha256sum <"$file")
returned=$("$echo_program" pipe --connect "$url" <"$file" | sha256sum)
echo "   | sent     ${sent%% *}"
echo "   | returned ${returned%% *}"
[ "$sent" = "$returned" ] || {
    echo "demo: the file came back different" >&2
    exit 1
}

kill -TERM "$server"
wait "$server" || {
    echo "demo: the server did not end cleanly" >&2
    exit 1
}
server=
echo "4. The server was asked to end (TERM). Its last words:"
sed 's/^/   | /' <&3
echo "All came back as it was sent."
