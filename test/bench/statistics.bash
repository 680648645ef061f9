# What benchmarks come to; samples are lines "KEY... MILLISECONDS" in $NODE/samples. shellcheck shell=bash

samples() { # KEY: its numbers
	grep "^$1 " "$NODE/samples" | awk '{print $NF}'
}

median() {
	sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}

# Of the numbers on standard input: "median (minimum to maximum)".
statistics() {
	sort -n | awk '{v[NR] = $1} END {printf "%8.2f  (%.2f to %.2f)", v[int((NR + 1) / 2)], v[1], v[NR]}'
}

ratio() { # KEY KEY: of their medians
	awk -v a="$(samples "$1" | median)" -v b="$(samples "$2" | median)" 'BEGIN {printf "%.2f", a / b}'
}
