/* web.h - softpm web: a page that shows a volume.
 *
 *    browser -- page.html, page.css, page.js (files.c: in the program) -- the page
 *            -- GET /api/NAME?OPERAND=... (server.c) -- softpm NAME --json OPERANDS (call.c), a process for each request
 *
 * So the page shows what the commands tell, as it is at that moment, and what a damaged or hostile volume does to a command it does to one
 * request. The server itself opens no volume.
 *
 * Who asks for more than the page's files must know the token, which is in the address that softpm web prints, behind a #: so it comes
 * in a header that other sites cannot send, and stays out of logs.
 */
#ifndef WEB_H
#define WEB_H

#include <stdbool.h>
#include <stddef.h>

/* files.c: NULL: no such file */
struct web_file {
	const char *path, *type, *begin, *end;
};
const struct web_file *web_file(const char *path);

/* call.c: runs this program with these arguments. 0: *fd is a file with what it printed, `bytes` long; -1: it failed: *fd is a file with its
 * message, which is empty, or *fd < 0, if it could not be run, took too long or told too much. */
int web_call(const char *const *arguments, int *fd, size_t *bytes);

#endif
