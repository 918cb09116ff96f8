/* commands.h - the dot-command .softpm of SQLite's shell, which knows it through sqlite.patch and SQLITE_CUSTOM_INCLUDE. */
#ifndef SPM_SQLITE_COMMANDS_H
#define SPM_SQLITE_COMMANDS_H

#include <sqlite3.h>

struct ShellState; /* the shell's */

/* args: the words behind ".softpm", NULL at the end. run: the shell's own way to run SQL and print what comes of it. As the shell's commands
 * return: 0, or 1 and the error is told. */
int spm_shell_command(sqlite3 *db, char **args, int (*run)(struct ShellState *shell, const char *sql, char **why),
                      struct ShellState *shell);

/* Lines of the shell's help: those of a command, which begin with a dot, are in alphabetical order. */
#define SPM_SHELL_HELP                                                                                                 \
	".softpm CMD ...          Versions of a database on SoftPM",                                                   \
	        "   log ?REF?                Versions, newest first",                                                  \
	        "   branches, tags           What there is; * is the present branch",                                  \
	        "   tag NAME ?REF?           Name the newest version, or REF",                                         \
	        "   branch NAME ?REF?        A new branch that begins with it",                                        \
	        "   switch REF               Go on from there",                                                        \
	        "   diff REF ?REF?           Rows that only the first (-) or only the second has (+);",                \
	        "                            the second is what there is now",                                         \
	        "   REF is a branch, a tag, a number, ~N (N versions ago), @TIME"

#endif
