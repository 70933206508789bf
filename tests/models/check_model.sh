#!/bin/sh
# Verifies one Spin model, or shows that one of its mutants fails.
#
#   check_model.sh MODEL.pml MUTANT WORKING_DIRECTORY
#
# Mutant 0 is the algorithm as it is: assertions, invalid end states (deadlocks) and every ltl claim
# are searched to the end without an error. Any other mutant must give an error in one of these
# searches. A search that was cut short counts as neither.
set -eu

model=$(realpath "$1")
mutant=$2
directory=$3
readonly depth_max=2000000
readonly memory_max_mib=1500

# Runs a search; its verdict is "holds", "fails" or "unfinished".
search() {
    "$@" -m"$depth_max" -n >search.log 2>&1 || true
    if grep -q 'errors: 0$' search.log; then
        if grep -Eq 'max search depth too small|Search not completed|out of memory|resizing' \
            search.log; then
            echo unfinished
        else
            echo holds
        fi
    elif grep -Eq 'errors: [1-9]' search.log &&
        grep -Eq 'assertion violated|invalid end state|acceptance cycle' search.log; then
        echo fails
    else
        echo unfinished
    fi
}

compile() {
    output=$1
    shift
    ${CC:-cc} -O2 -w -DCOLLAPSE -DMEMLIM="$memory_max_mib" "$@" -o "$output" pan.c
}

report() {
    echo "$1: $2"
    grep -E 'assertion violated|invalid end state|acceptance cycle|errors:|states, stored' \
        search.log | grep -v "[+-]\( (.*)\)*$" || true
}

rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
spin -DMUTANT="$mutant" -a "$model" >spin.log 2>&1 || {
    cat spin.log
    exit 1
}

compile safety -DSAFETY -DNOCLAIM
verdicts=$(search ./safety)
report "assertions and end states" "$verdicts"
claims=$(sed -n 's/^ltl \([a-z_]*\) .*/\1/p' "$model")
if [ -n "$claims" ]; then
    compile liveness -DNFAIR=3
fi
for claim in $claims; do
    verdict=$(search ./liveness -a -f -N "$claim")
    report "$claim" "$verdict"
    verdicts="$verdicts $verdict"
done

case $verdicts in
*unfinished*)
    cat search.log
    exit 1
    ;;
*fails*) [ "$mutant" -ne 0 ] ;;
*) [ "$mutant" -eq 0 ] ;;
esac
