/* text.c - numbers as people read them, tables, and JSON as programs read it.
 *
 * Names and messages are whatever a program, or whoever made a stream, put there: what would make a terminal do something is not shown,
 * and what is no UTF-8 is neither shown nor told.
 */
#include "tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_BYTES = 1024, TEXTS = 8, SENTENCE_BYTES = 2048 };

static char *next_text(void)
{
	static char texts[TEXTS][TEXT_BYTES];
	static unsigned next;

	return texts[next++ % TEXTS];
}

size_t text_character(const unsigned char *s, uint64_t n)
{
	static const struct {
		unsigned char from, to, second_from, second_to, bytes;
	} kinds[] = {{0x00, 0x7f, 0x00, 0xff, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	             {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	             {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	size_t k = 0, i;

	while (k < sizeof(kinds) / sizeof(kinds[0]) && (*s < kinds[k].from || *s > kinds[k].to))
		k++;
	if (k == sizeof(kinds) / sizeof(kinds[0]) || kinds[k].bytes > n)
		return 0;
	if (kinds[k].bytes > 1 && (s[1] < kinds[k].second_from || s[1] > kinds[k].second_to))
		return 0;
	for (i = 1; i < kinds[k].bytes; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return i;
}

bool text_is_control(const unsigned char *s, size_t bytes)
{
	return *s < ' ' || *s == 0x7f || (bytes == 2 && *s == 0xc2 && s[1] < 0xa0);
}

/* In place: what is no character becomes a question mark, and, unless they stay, what controls a terminal; ends of lines and tabs
 * become spaces. */
static void text_clean(char *text, bool controls_stay)
{
	unsigned char *s = (unsigned char *)text, *end = s + strlen(text);

	while (s < end) {
		size_t bytes = text_character(s, (uint64_t)(end - s));

		if (bytes && (controls_stay || !text_is_control(s, bytes)))
			s += bytes;
		else
			*s = *s == '\n' || *s == '\t' ? ' ' : '?', s++;
	}
}

int complain(const char *format, ...)
{
	char sentence[SENTENCE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	text_clean(sentence, false);
	fprintf(stderr, "softpm: %s\n", sentence);
	return TOOL_NO;
}

const char *text_plain(const char *text)
{
	char *plain = next_text();

	snprintf(plain, TEXT_BYTES, "%s", text);
	text_clean(plain, false);
	return plain;
}

const char *text_plain_format(const char *format, ...)
{
	char *plain = next_text();
	va_list args;

	va_start(args, format);
	vsnprintf(plain, TEXT_BYTES, format, args);
	va_end(args);
	text_clean(plain, false);
	return plain;
}

int no_memory(void)
{
	return complain("no memory");
}

void out_of_memory(void)
{
	no_memory();
	exit(TOOL_NO);
}

const char *text_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	unsigned unit = 0;
	char *text = next_text();

	while (value >= 1023.95 && unit < 5) {
		value /= 1024;
		unit++;
	}
	snprintf(text, TEXT_BYTES, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

const char *text_span(uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	unsigned unit = 0;
	char *text = next_text();

	while (value >= 999.95 && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(text, TEXT_BYTES, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

const char *text_time(int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;
	char day[32];
	char *text = next_text();

	if (!localtime_r(&seconds, &tm))
		return "?";
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(text, TEXT_BYTES, "%s.%03d", day, (int)(ns / 1000000 % 1000));
	return text;
}

const char *text_container(const struct listed *c)
{
	char *text = next_text();

	snprintf(text, TEXT_BYTES, c->name[0] ? "%d (%s)" : "%d", c->magic, c->name);
	text_clean(text, false);
	return text;
}

const char *text_version(const char *branch, int64_t version)
{
	char *text = next_text();

	snprintf(text, TEXT_BYTES, "%s:%lld", branch, (long long)version);
	text_clean(text, false);
	return text;
}

struct table {
	unsigned columns;
	size_t cells, room; /* the heads are the first row */
	char **cell;
};

void table_add(struct table *t, const char *cell)
{
	if (t->cells == t->room) {
		t->room = t->room * 2 + 64;
		t->cell = realloc(t->cell, t->room * sizeof(*t->cell));
		if (!t->cell)
			out_of_memory();
	}
	t->cell[t->cells] = strdup(cell);
	if (!t->cell[t->cells])
		out_of_memory();
	text_clean(t->cell[t->cells++], false);
}

void table_addf(struct table *t, const char *format, ...)
{
	va_list args;
	char *cell;
	int n;

	va_start(args, format);
	n = vasprintf(&cell, format, args);
	va_end(args);
	if (n < 0)
		out_of_memory();
	table_add(t, cell);
	free(cell);
}

struct table *table_new(unsigned columns, const char *const *heads)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		out_of_memory();
	t->columns = columns;
	for (unsigned i = 0; i < columns; i++)
		table_add(t, heads[i]);
	return t;
}

/* Columns on the screen that a UTF-8 text takes. */
static int text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static int column_width(const struct table *t, unsigned column)
{
	int widest = 0;

	for (size_t i = column; i < t->cells; i += t->columns) {
		int width = text_width(t->cell[i]) - (i < t->columns && t->cell[i][0] == '>');

		if (width > widest)
			widest = width;
	}
	return widest;
}

static void cell_print(const struct table *t, size_t i, int width, bool is_last)
{
	bool is_right = t->cell[i % t->columns][0] == '>';
	const char *text = t->cell[i] + (i < t->columns && is_right);
	int pad = width - text_width(text);

	if (is_right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, is_last ? 0 : pad, "");
	fputs(is_last ? "\n" : "  ", stdout);
}

/* Nothing behind the last cell that has something. */
static void row_print(const struct table *t, size_t first, const int *width)
{
	size_t last = first + t->columns - 1;

	while (last > first && !t->cell[last][0])
		last--;
	for (size_t i = first; i <= last; i++)
		cell_print(t, i, width[i - first], i == last);
}

void table_print(struct table *t)
{
	int *width = calloc(t->columns, sizeof(*width));

	if (!width)
		out_of_memory();
	for (unsigned i = 0; i < t->columns; i++)
		width[i] = column_width(t, i);
	for (size_t i = 0; i < t->cells; i += t->columns)
		row_print(t, i, width);
	for (size_t i = 0; i < t->cells; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t);
	free(width);
}

struct json_object *json_string(const char *value)
{
	struct json_object *o;
	char *text = strdup(value);

	if (!text)
		out_of_memory();
	text_clean(text, true);
	o = json_object_new_string(text);
	free(text);
	return o;
}

void json_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value ? json_string(value) : NULL);
}

void json_count(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

void json_time(struct json_object *o, const char *key, int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;
	char day[32] = "", text[64];

	if (gmtime_r(&seconds, &tm))
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%09dZ", day, (int)(ns % 1000000000));
	json_text(o, key, text);
}

void json_print(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
	                                               JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
