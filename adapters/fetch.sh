#!/bin/sh
# fetch.sh PACKAGE PATCH FOLDER - FOLDER/source becomes the source of Debian's source package PACKAGE, with PATCH. What apt fetches stays in
# FOLDER, so that the network is asked once.
#
# apt verifies the archive's signature and the sums of what it fetches. It gets folders of its own, so this needs no root, and changes
# nothing of the machine's. The mirrors are those that the machine uses; which release is not: the patches are against this one's sources.
set -eu

release=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
package=$1
patch=$2
mkdir -p "$3"
cd "$3"
folder=$(pwd)

fail() {
	echo "$package: $*" >&2
	exit 1
}

mirrors() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | sort -u | grep . ||
		printf '%s\n' http://deb.debian.org/debian http://deb.debian.org/debian-security
}

sources() {
	for uri in $(mirrors); do
		case $uri in
		*-security*) suites=$release-security ;;
		*) suites="$release $release-updates" ;;
		esac
		for suite in $suites; do
			echo "deb-src [signed-by=$keyring] $uri $suite main"
		done
	done | sort -u
}

apt_get() {
	apt-get -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User= \
		-o APT::Update::Post-Invoke-Success::= -o APT::Update::Error-Mode=any "$@"
}

fetch() {
	for command in apt-get dpkg-source; do
		command -v $command >/dev/null || fail "needs $command: Debian's packages apt and dpkg-dev"
	done
	mkdir -p lists/partial cache/archives/partial
	sources >sources.list
	apt_get update && apt_get --download-only source "$package" ||
		fail "Debian's source package can't be fetched; if there is no network, put its files (${package}_*.dsc and what" \
			"it names) into $folder; or build without it"
}

newest_dsc() {
	# shellcheck disable=SC2012 # names of packages
	ls "$package"_*.dsc 2>/dev/null | sort -V | tail -n 1
}

[ -n "$(newest_dsc)" ] || fetch
rm -rf source unpacked
dpkg-source -x "$(newest_dsc)" unpacked >unpack.log 2>&1 || {
	cat unpack.log >&2
	fail "the package in $folder can't be unpacked: remove it, it is fetched again"
}
patch -s -d unpacked -p1 --no-backup-if-mismatch <"$patch" || fail "$patch doesn't fit this package"
touch unpacked/patched
mv unpacked source
