#!/bin/sh
# run.sh BUILD_DIR - malloc_mix under each allocator, interleaved five times: medians and ratios to glibc, as markdown.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: run.sh BUILD_DIR}
softpm=$(find "$build" -name 'libsoftpm-malloc.so*' | head -n 1)
lib=/usr/lib/x86_64-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -D_GNU_SOURCE -o "$work/mix" "$here/malloc_mix.c" -lpthread

allocators="glibc"
[ -e $lib/libjemalloc.so.2 ] && allocators="$allocators jemalloc"
[ -e $lib/libmimalloc.so.2 ] && allocators="$allocators mimalloc"
[ -n "$softpm" ] && allocators="$allocators softpm"

preload_of() {
	case $1 in
	glibc) ;;
	softpm) echo "$softpm" ;;
	*) echo "$lib/lib$1.so.2" ;;
	esac
}

for round in 1 2 3 4 5; do
	for mix in single two handoff; do
		for a in $allocators; do
			LD_PRELOAD=$(preload_of "$a") "$work/mix" $mix >>"$work/$mix.$a"
		done
	done
done

median() { sort -n | sed -n 3p; }

echo "| mix | allocator | ns/op | to glibc | peak RSS, MiB | to glibc |"
echo "| --- | --- | ---: | ---: | ---: | ---: |"
for mix in single two handoff; do
	base_ns=$(cut -d' ' -f1 "$work/$mix.glibc" | median)
	base_kb=$(cut -d' ' -f2 "$work/$mix.glibc" | median)
	for a in $allocators; do
		ns=$(cut -d' ' -f1 "$work/$mix.$a" | median)
		kb=$(cut -d' ' -f2 "$work/$mix.$a" | median)
		awk -v m=$mix -v a="$a" -v ns="$ns" -v kb="$kb" -v bn="$base_ns" -v bk="$base_kb" 'BEGIN {
			printf "| %s | %s | %.0f | %.2f | %.1f | %.2f |\n", m, a, ns, ns / bn, kb / 1024, kb / bk }'
	done
done
