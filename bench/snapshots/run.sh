#!/bin/sh
# run.sh BUILD_DIR [--json] [DATA_DIR [PASSES [COUNT [SECONDS [MIB...]]]]]   (./bench-data, 3, 500, 6, 10 100 1024)
# Versions and branches, SoftPM's and what others offer, as markdown or JSON. All sizes in turn in each pass, all systems in turn within
# a size; the last pass goes on to version and branch COUNT. Needs 60 GiB; takes 5 to 8 minutes.
# XFS and Btrfs lie in files of DATA_DIR, mounted by loop devices without the cache of the file system below. All processes, mounts and
# these files, which are deleted, live in namespaces that end with this process, however it ends; devices go with their mounts. Without
# root, or mkfs, these systems are left out.
# DATA_DIR must not exist, must not be on tmpfs, and is removed at the end. `cmake --build BUILD_DIR -t bench` first.
set -eu
if [ "${1-}" != --inside ]; then
	build=${1:?usage: run.sh BUILD_DIR [--json] [DATA_DIR [PASSES [COUNT [SECONDS [MIB...]]]]]}
	shift
	if unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
		exec unshare --mount --pid --fork --kill-child --mount-proc sh "$0" --inside "$build" "$@"
	fi
	can_mount=
else
	can_mount=yes
	build=$2
	shift 2
fi
format=
if [ "${1-}" = --json ]; then
	format=--json
	shift
fi
data=${1:-./bench-data}
passes=${2:-3}
count=${3:-500}
seconds=${4:-6}
if [ $# -gt 4 ]; then shift 4; else set -- 10 100 1024; fi
programs=$build/bench/snapshots

mkdir "$data"
unmount() {
	for name in xfs btrfs subvolume; do
		! mountpoint -q "$data/fs/$name" || umount "$data/fs/$name"
	done
}
trap 'unmount; rm -rf "$data"' EXIT
trap 'exit 1' INT TERM
case $(stat -f -c %T "$data") in
tmpfs | ramfs)
	echo "$data is in memory: nothing is durable there" >&2
	exit 1
	;;
esac

# KIND, or a sentence why not.
can_have() {
	if ! command -v "mkfs.$1" >/dev/null; then
		echo "$1 is left out: there is no mkfs.$1 (Debian: xfsprogs, btrfs-progs)" >&2
	elif [ -z "$can_mount" ]; then
		echo "$1 is left out: it can't be mounted, that takes root" >&2
	else
		return 0
	fi
	return 1
}

# NAME, MIB: a file for a file system, held open as FD 7, 8 or 9, and deleted. It is written beforehand: otherwise each flush would be
# one of the file system below, too, for its growth.
image_make() {
	dd if=/dev/zero of="$data/$1" bs=1M count="$2" oflag=direct 2>/dev/null
	case $1 in
	xfs) exec 7<>"$data/$1" ;;
	btrfs) exec 8<>"$data/$1" ;;
	subvolume) exec 9<>"$data/$1" ;;
	esac
	rm "$data/$1"
}

# NAME, KIND, FD: a file system at $data/fs/NAME, whose device goes when it is unmounted. It gives nothing back to the file below.
file_system() {
	case $kinds in *$2*) ;; *) return 0 ;; esac
	"mkfs.$2" -q -f -K "/proc/$$/fd/$3" >/dev/null 2>&1
	if ! device=$(losetup --find --show --direct-io=on "/proc/$$/fd/$3"); then
		echo "$2 is left out: there is no loop device for it" >&2
		return 0
	fi
	mkdir "$data/fs/$1"
	if ! mount -o nodiscard "$device" "$data/fs/$1"; then
		echo "$2 is left out: this kernel does not mount it" >&2
		rmdir "$data/fs/$1"
	fi
	losetup -d "$device"
}

largest=$(printf '%s\n' "$@" | sort -n | tail -n 1)
kinds=
if can_have xfs; then
	kinds=xfs
	image_make xfs "$((largest * 8 + 400))"
fi
if can_have btrfs; then
	kinds="$kinds btrfs"
	image_make btrfs "$((largest * 8 + 400))"
	image_make subvolume "$((largest * 8 + 400))"
fi
pass=1
while [ "$pass" -le "$passes" ]; do
	for mib in "$@"; do
		mkdir "$data/fs"
		file_system xfs xfs 7
		file_system btrfs btrfs 8
		file_system subvolume btrfs 9
		"$programs/bench_snapshots" "$data/fs" "$mib" "$([ "$pass" -lt "$passes" ] && echo 1 || echo "$count")" \
			"$seconds" >>"$data/samples"
		unmount
		rm -rf "$data/fs"
	done
	pass=$((pass + 1))
done
"$programs/bench_snapshots_table" $format <"$data/samples"
