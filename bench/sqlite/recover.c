/* recover.c - how long after a crash until a database answers: SQLite on SoftPM beside its own files.
 *
 *   bench_sqlite_recover FOLDER SYSTEM [rows=N] [transactions=N] [checkpoints=0] [cold=1]
 *
 * SYSTEM: see table.h. A process fills the table, begins to change it, and is killed in the midst of that, when it has ended so many
 * transactions. checkpoints=0: a WAL is not checkpointed while it is changed, so it has all of them. cold=1: the files are not in the
 * page cache then. Another process is started, opens the database, reads a row by its key, and then reads them all. Times are from before
 * that process is started; of the files only what they had at the crash counts.
 */
#include "table.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MOST = 10 };

static uint64_t rows = 1000000, transactions = 10000, checkpoints = 1, is_cold, started;

/* The victim: says a word when there have been enough, and goes on. */
static void change_until_killed(int out)
{
	struct changer c;

	table_fill(rows);
	changer_open(&c, rows, 7);
	if (!checkpoints)
		table_run(c.db, "PRAGMA wal_autocheckpoint = 0");
	for (uint64_t done = 0;; done += 3) {
		changer_round(&c);
		if (done < transactions && done + 3 >= transactions)
			need(write(out, ".", 1) == 1, "pipe");
	}
}

static void crash(void)
{
	int ends[2];
	pid_t victim;
	char word;

	need(!pipe(ends), "pipe");
	victim = fork();
	if (!victim)
		change_until_killed(ends[1]);
	close(ends[1]);
	need(read(ends[0], &word, 1) == 1, "the load");
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	close(ends[0]);
}

/* How long they are; drops them from the page cache if they are to be cold. */
static double files_settle(const char *folder)
{
	DIR *d = opendir(folder);
	double bytes = 0;

	need(d, folder);
	for (struct dirent *e; (e = readdir(d));) {
		int fd = openat(dirfd(d), e->d_name, O_RDONLY);
		struct stat is;

		if (fd >= 0 && !fstat(fd, &is) && S_ISREG(is.st_mode)) {
			bytes += (double)is.st_size;
			if (is_cold && !fdatasync(fd))
				posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		}
		close(fd);
	}
	closedir(d);
	return bytes;
}

static double since_start_ms(void)
{
	return (double)(now_ns() - started) / 1e6;
}

static int answer(void)
{
	sqlite3 *db = table_open();
	sqlite3_stmt *one = table_prepare(db, "SELECT text FROM t WHERE id = ?1"),
	             *all = table_prepare(db, "SELECT count(*), max(text) FROM t");

	table_step(db, one, rows / 2 * 2, NULL);
	row("first row", since_start_ms(), "ms");
	need(sqlite3_step(all) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(all, 0) - rows <= 1, "all rows");
	row("all rows", since_start_ms(), "ms");
	row_data(0);
	sqlite3_finalize(one);
	sqlite3_finalize(all);
	sqlite3_close(db);
	return 0;
}

int main(int argc, char **argv)
{
	char started_at[40], *again[ARGUMENTS_MOST + 2] = {NULL};

	need(argc >= 3 && argc <= ARGUMENTS_MOST,
	     "usage: FOLDER SYSTEM [rows=N] [transactions=N] [checkpoints=0] [cold=1]");
	for (int i = 3; i < argc; i++)
		need(option_number(argv[i], "rows", &rows) || option_number(argv[i], "transactions", &transactions) ||
		             option_number(argv[i], "checkpoints", &checkpoints) ||
		             option_number(argv[i], "cold", &is_cold) || option_number(argv[i], "started", &started),
		     "unknown option");
	table_choose(argv[2], argv[1]);
	if (started)
		return answer();
	crash();
	row("files", files_settle(argv[1]) / 1048576, "MiB");
	fflush(stdout);
	snprintf(started_at, sizeof(started_at), "started=%llu", (unsigned long long)now_ns());
	memcpy(again, argv, (size_t)argc * sizeof(*argv));
	again[argc] = started_at;
	execv("/proc/self/exe", again);
	need(false, "exec");
	return 1;
}
