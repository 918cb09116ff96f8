#!/bin/sh
# deps.sh [test|ci|bench] - see to it that the Debian packages the build needs are there: installs those missing as root, otherwise
# names them in one line and fails. Asks the network for nothing when none is missing.
set -eu

packages="build-essential cmake ninja-build pkg-config libxxhash-dev libelf-dev libdw-dev libzstd-dev libcmocka-dev libjson-c-dev libmicrohttpd-dev \
	tcl-dev libreadline-dev libevent-dev libsasl2-dev libssl-dev libdb-dev"
[ "${1-}" != test ] || packages="$packages libbsd-dev libglib2.0-dev libmemcached-tools python3-pymemcache"
[ "${1-}" != ci ] || packages="$packages clang libclang-rt-14-dev chromium chromium-driver"
[ "${1-}" != bench ] || packages="$packages libdb-dev liblmdb-dev librocksdb-dev libsqlite3-dev libpmemobj-dev libtpl-dev \
	libbsd-dev libjemalloc2 libmimalloc2.0 xfsprogs btrfs-progs python3 gnuplot-nox"

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
	echo "SoftPM needs what Debian calls: $packages" >&2
	exit 0
fi
missing=
for package in $packages; do
	is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "Missing Debian packages; as root: apt-get install$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086 # a list of words
apt-get install -y --no-install-recommends $missing
