# run.tcl KIND FILE - one of SQLite's own test files, in the working directory, its main database test.db being
#
#   softpm   a container of volume test.db
#   memory   a database in memory, which is gone when it is closed
#   file     what it always is
#
# Other files are as ever. SQLite's own test programs and this one go by the same sources of tests: FILE lies beside tester.tcl.
set kind [lindex $argv 0]
set file [lindex $argv 1]
set argv {}
set argv0 $file

rename sqlite3 sqlite_untouched
proc sqlite3 {args} {
	global kind
	set at [lsearch -regexp $args {^(\./)?test\.db$}]
	if {$at >= 1 && $kind eq "softpm"} {
		set args [lreplace $args $at $at "file:test.db?softpm=1"]
		if {[lsearch $args -uri] < 0} {
			lappend args -uri 1
		}
	} elseif {$at >= 1 && $kind eq "memory"} {
		set args [lreplace $args $at $at ":memory:"]
	}
	uplevel 1 [list sqlite_untouched] $args
}
source $file
