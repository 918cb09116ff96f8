# shell.sh - what the scripts in bench have in common. To be read by them (`.`), with $data set: the folder that is theirs.
# shellcheck shell=sh disable=SC2154

# Makes the folder, which goes when the script ends, however it does.
data_make() {
	mkdir "$data"
	trap 'rm -rf "$data"' EXIT
	trap 'exit 1' INT TERM
	case $(stat -f -c %T "$data") in
	tmpfs | ramfs)
		echo "$data is in memory: nothing is durable there" >&2
		exit 1
		;;
	esac
}

# Of the numbers on standard input, one a line.
median() {
	sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
