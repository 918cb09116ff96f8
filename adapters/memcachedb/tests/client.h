/* client.h - a server under test, and connections to it that speak memcached's text protocol. */
#ifndef TEST_CLIENT_H
#define TEST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

enum { LINE_MOST = 4096 };

/* Makes the test's scratch folder the working directory, without what an earlier server left. */
void server_folder(void);
/* Starts $SOFTPM_MEMCACHEDB with these options (ended by NULL), its socket, and cache.vol, in the working directory; softpm_sync=sync; NULL: without
 * SoftPM. */
pid_t server_spawn(const char *sync, const char *const *options);
/* And waits until it answers. 0: it ended. */
pid_t server_start(const char *sync, const char *const *options);
/* The last one that was started, if it was not ended. It is gone when the test's process is, too. */
void server_kill_left(void);
void server_is_daemon(pid_t server); /* nobody's child */
/* Returns what waitpid gave. */
int server_end(pid_t server, int signal);

/* To the server of the working directory. NULL: there is none. */
FILE *client_connect(void);
/* NULL: it does not answer, either. */
FILE *client_open(void);
/* Sends a command, and data for it if it is not NULL. false: the connection is gone. */
bool client_send(FILE *f, const void *data, size_t bytes, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* A line of reply without its end. false: the connection is gone. */
bool client_line(FILE *f, char line[LINE_MOST]);
/* The value of a key: its bytes, to be freed, NULL and *bytes is 0: there is none; NULL and *bytes is 1: the connection is gone. */
char *client_get(FILE *f, const char *key, size_t *bytes, unsigned long long *cas);
/* "STAT name value" of `stats WHICH`; -1: there is none, or no connection. */
long long client_stat(FILE *f, const char *which, const char *name);

#endif
