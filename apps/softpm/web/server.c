/* server.c - see web.h. */
#include "../tool.h"
#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { CONNECTIONS_MOST = 64, IDLE_SECONDS = 60, OPERANDS_MOST = 5, ARGUMENTS_MOST = 8 + 2 * OPERANDS_MOST };

/* What a request becomes: softpm -v VOLUME COMMAND [--json] [OPTION VALUE]... -- OPERANDS. */
struct operand {
	const char *name;   /* as the request has it */
	const char *option; /* NULL: an operand by its place; those that can be missing come last */
	bool is_needed;
};
struct call {
	const char *name;    /* /api/NAME */
	const char *word[4]; /* the command and its flags */
	struct operand operand[OPERANDS_MOST];
	bool is_change; /* POST, and only with --write */
};

#define CONTAINER                                                                                                      \
	{                                                                                                              \
		"container", NULL, true                                                                                \
	}
#define REF                                                                                                            \
	{                                                                                                              \
		"ref", NULL, true                                                                                      \
	}
#define LIMIT                                                                                                          \
	{                                                                                                              \
		"limit", "--limit", false                                                                              \
	}
static const struct call calls[] = {
        {"info", {"info", "--json"}, {{0}}, false},
        {"tags", {"tag", "--json"}, {CONTAINER}, false},
        {"log", {"log", "--json"}, {LIMIT, CONTAINER, {"ref", NULL, false}}, false},
        {"stat", {"stat", "--json"}, {CONTAINER}, false},
        {"diff", {"diff", "--json", "--objects"}, {CONTAINER, {"first", NULL, true}, {"second", NULL, true}}, false},
        {"browse",
         {"browse", "--json"},
         {{"path", "--path", false}, {"depth", "--depth", false}, LIMIT, CONTAINER, REF},
         false},
        {"grep", {"grep", "--json"}, {LIMIT, CONTAINER, REF, {"pattern", NULL, true}}, false},
        {"lint", {"lint", "--json"}, {LIMIT, CONTAINER, REF}, false},
        {"map", {"map", "--json"}, {LIMIT, CONTAINER, REF}, false},
        {"subtrees", {"map", "--json", "--subtrees"}, {LIMIT, CONTAINER, REF}, false},
        {"tag", {"tag"}, {CONTAINER, {"name", NULL, true}, REF}, true},
        {"branch", {"branch"}, {CONTAINER, {"name", NULL, true}, REF}, true},
        {"prune", {"prune", "--json"}, {CONTAINER}, true},
};

static char token[33];
static const char *volume;
static bool is_writable;

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(
	        response, "Content-Security-Policy",
	        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
	        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* {"error": ...} */
static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *why)
{
	struct json_object *o = json_object_new_object();
	enum MHD_Result result;
	const char *text;

	json_text(o, "error", why);
	text = json_object_to_json_string(o);
	result = answer(connection, status, "application/json",
	                MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY));
	json_object_put(o);
	return result;
}

static enum MHD_Result file_send(struct MHD_Connection *connection, const struct web_file *file)
{
	return answer(connection, MHD_HTTP_OK, file->type,
	              MHD_create_response_from_buffer((size_t)(file->end - file->begin), (void *)(uintptr_t)file->begin,
	                                              MHD_RESPMEM_PERSISTENT));
}

/* ---- calls ---- */

static bool is_authorized(struct MHD_Connection *connection)
{
	const char *given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-SoftPM-Token");
	unsigned differ = 0;

	if (!given || strlen(given) != sizeof(token) - 1)
		return false;
	for (size_t i = 0; i < sizeof(token) - 1; i++) /* in the same time wherever they differ */
		differ |= (unsigned)(given[i] ^ token[i]);
	return !differ;
}

struct arguments {
	const char *word[ARGUMENTS_MOST];
	unsigned n;
};

/* What the request says; NULL: nothing. */
static const char *value_of(struct MHD_Connection *connection, const struct operand *operand)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, operand->name);

	return value && *value ? value : NULL;
}

/* NULL, or the name of an operand that is missing. */
static const char *arguments_make(struct MHD_Connection *connection, const struct call *call, struct arguments *a)
{
	const struct operand *end = call->operand + OPERANDS_MOST;

	*a = (struct arguments){.word = {"softpm", "-v", volume}, .n = 3};
	for (const char *const *word = call->word; *word; word++)
		a->word[a->n++] = *word;
	for (const struct operand *one = call->operand; one < end && one->name; one++)
		if (one->option && value_of(connection, one)) {
			a->word[a->n++] = one->option;
			a->word[a->n++] = value_of(connection, one);
		}
	a->word[a->n++] = "--"; /* what follows is no option, whatever it looks like */
	for (const struct operand *one = call->operand; one < end && one->name; one++) {
		const char *value = one->option ? NULL : value_of(connection, one);

		if (one->is_needed && !value)
			return one->name;
		if (value)
			a->word[a->n++] = value;
	}
	return NULL;
}

/* What the command said of its failure. */
static enum MHD_Result failure_send(struct MHD_Connection *connection, int fd, size_t bytes)
{
	char why[1024] = "it took too long, or told too much";
	ssize_t n = fd >= 0 && bytes ? pread(fd, why, sizeof(why) - 1, 0) : -1;

	if (n > 0)
		why[n] = 0;
	if (fd >= 0)
		close(fd);
	why[strcspn(why, "\n")] = 0;
	return refuse(connection, MHD_HTTP_UNPROCESSABLE_CONTENT, why);
}

static enum MHD_Result call_serve(struct MHD_Connection *connection, const struct call *call)
{
	struct arguments a;
	const char *missing = arguments_make(connection, call, &a);
	char why[64];
	int fd;
	size_t bytes;

	if (missing) {
		snprintf(why, sizeof(why), "the request lacks '%s'", missing);
		return refuse(connection, MHD_HTTP_BAD_REQUEST, why);
	}
	if (web_call(a.word, &fd, &bytes))
		return failure_send(connection, fd, bytes);
	return answer(connection, MHD_HTTP_OK, "application/json", MHD_create_response_from_fd(bytes, fd));
}

static const struct call *call_find(const char *url)
{
	for (size_t i = 0; !strncmp(url, "/api/", 5) && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(calls[i].name, url + 5))
			return &calls[i];
	return NULL;
}

static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                             const char *version, const char *upload, size_t *upload_bytes, void **state)
{
	const struct web_file *file = web_file(url);
	const struct call *call = call_find(url);
	static int seen;

	(void)arg, (void)version, (void)upload;
	if (!*state) { /* the headers; more may follow */
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_bytes) { /* nobody needs it */
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (file && !strcmp(method, "GET"))
		return file_send(connection, file);
	if (!call)
		return refuse(connection, MHD_HTTP_NOT_FOUND, "there is no such page");
	if (!is_authorized(connection))
		return refuse(connection, MHD_HTTP_FORBIDDEN,
		              "the address lacks the token: use the one that softpm web printed");
	if (strcmp(method, call->is_change ? "POST" : "GET"))
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, call->is_change ? "POST only" : "GET only");
	if (call->is_change && !is_writable)
		return refuse(connection, MHD_HTTP_FORBIDDEN,
		              "this server only shows: softpm web --write lets you change things");
	return call_serve(connection, call);
}

/* ---- the server ---- */

static int token_make(void)
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return complain("no random numbers: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	return TOOL_OK;
}

static void address_tell(const struct options *o, const struct in_addr *address, unsigned port)
{
	char host[INET_ADDRSTRLEN], url[160];
	struct json_object *json;

	inet_ntop(AF_INET, address, host, sizeof(host));
	snprintf(url, sizeof(url), "http://%s:%u/#%s%s", host, port, token, is_writable ? "&write" : "");
	if (o->is_json) {
		json = json_object_new_object();
		json_text(json, "address", url);
		json_print(json);
	} else {
		printf("%s\n", url);
	}
	fflush(stdout);
}

/* Blocked in all threads. */
static void signals_take(sigset_t *ends)
{
	sigemptyset(ends);
	sigaddset(ends, SIGINT);
	sigaddset(ends, SIGTERM);
	sigaddset(ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ends, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int tool_web(const struct options *o, int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
	const union MHD_DaemonInfo *info;
	struct MHD_Daemon *daemon;
	sigset_t ends;
	int signal;

	(void)argc, (void)argv;
	if (volume_look(o) || token_make())
		return TOOL_NO;
	if (inet_pton(AF_INET, o->address ? o->address : "127.0.0.1", &at.sin_addr) != 1)
		return complain("'%s' is no address of this machine, such as 127.0.0.1", o->address);
	volume = volume_name(o);
	is_writable = o->is_write;
	signals_take(&ends);
	daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, (uint16_t)o->port,
	                          NULL, NULL, serve, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at,
	                          MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
	                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
	if (!daemon)
		return complain("port %u: %s", o->port, strerror(errno));
	info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	address_tell(o, &at.sin_addr, info ? info->port : o->port);
	sigwait(&ends, &signal);
	MHD_stop_daemon(daemon);
	return TOOL_OK;
}
