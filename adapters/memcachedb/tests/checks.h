/* checks.h - what tests of a server tell it, and expect. */
#ifndef TEST_CHECKS_H
#define TEST_CHECKS_H

#include <stdio.h>
#include <sys/types.h>

extern const char *const none[]; /* options */

int folder_new(void **state);
int server_gone(void **state); /* whatever became of the test */
/* Sends a command, and expects its first line of reply. */
void tell(FILE *f, const char *command, const char *expected);
void set(FILE *f, const char *key, const char *value, const char *expected);
void value_check(FILE *f, const char *key, const char *expected);
/* The server ends by this signal, and another is started, with these options; *f becomes a connection to it. */
pid_t restart_with(pid_t server, int signal, const char *sync, const char *const *options, FILE **f);
pid_t restart(pid_t server, int signal, const char *sync, FILE **f);
/* Expiry is noticed when the server gets round to it. */
void gone_await(FILE *f, const char *key);
/* Two that have ended from now on: the second began later, too. */
void points_await(FILE *f);
/* The server began anew in its process. */
FILE *open_again(FILE *f);
/* A server with these options ends by itself, and says why. */
void is_refused(const char *const *options, const char *why);

#endif
