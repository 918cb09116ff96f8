/* test_types.c - types read from debug information: what gcc and clang say of the same declarations, with the flags that change how they say it,
 * is the same; and blobs of them (lib/types/types.h) that are malformed are refused.
 *
 * Declarations are compiled while the test runs, as libraries that it loads: so they are in modules of this process.
 */
#include "scratch.h"
#include "type_text.h"
#include "types/dwarf.h"
#include "types/rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Each with `anchor`, to find the module by. */
struct declaration {
	const char *root, *source, *text;
};

static const struct declaration c_declarations[] = {
        {"struct list", "struct list { struct list *next; int id; char name[12]; }; struct list x;",
         "struct list 24 { next@0 *struct list; id@8 int; name@12 char[12]; }\n"},
        {"struct scalars",
         "#include <stdint.h>\n#include <stddef.h>\n"
         "struct scalars { _Bool b; signed char sc; unsigned char uc; short s; unsigned short us; unsigned u; long l;"
         " unsigned long ul; long long ll; unsigned long long ull; float f; double d; size_t z; uint8_t byte; }; "
         "struct scalars x;",
         "struct scalars 80 { b@0 _Bool; sc@1 signed char; uc@2 unsigned char; s@4 short; us@6 unsigned short; u@8 "
         "unsigned int; "
         "l@16 long; ul@24 unsigned long; ll@32 long long; ull@40 unsigned long long; f@48 float; d@56 double; "
         "z@64 unsigned long; byte@72 unsigned char; }\n"},
        {"struct wide",
         "struct wide { __int128 i; unsigned __int128 u; long double ld; _Complex double c; }; struct wide x;",
         "struct wide 64 { i@0 __int128; u@16 unsigned __int128; ld@32 long double; c@48 unknown(16); }\n"},
        {"struct bits",
         "struct bits { unsigned a : 3, b : 5; int c : 20; _Bool d : 1; unsigned long e : 40; char : 0; int tail; "
         "unsigned char f : 2; };"
         " struct bits x;",
         "struct bits 24 { a@0:0+3 unsigned int; b@0:3+5 unsigned int; c@1:0+20 int; d@3:4+1 _Bool; e@8:0+40 unsigned "
         "long; "
         "tail@16 int; f@20:0+2 unsigned char; }\n"},
        {"struct outer",
         "struct outer { struct { int x, y; } pos; union { long l; struct { char a; void *b; }; }; struct { union { "
         "int i; float f; } u; } v[2]; };"
         " struct outer x;",
         "struct outer 32 { pos@0 { x@0 int; y@4 int; }; @8 union { l@0 long; @0 { a@0 char; b@8 *void; }; }; "
         "v@24 { u@0 union { i@0 int; f@0 float; }; }[2]; }\n"},
        {"struct paint",
         "enum color { RED, GREEN = 200, BLUE = -3, FAR = 2147483647 }; typedef enum { ON = 1, OFF = 0 } state_t;\n"
         "enum big { BIG = 0xffffffff }; struct paint { enum color c; state_t s; enum big b; }; struct paint x;",
         "struct paint 12 { c@0 enum color; s@4 state_t; b@8 enum big; }\n"
         "enum color 4 { RED=0 GREEN=200 BLUE=-3 FAR=2147483647 }\n"
         "state_t 4 { ON=1 OFF=0 }\n"
         "enum big 4 { BIG=4294967295 }\n"},
        {"struct flexible", "struct flexible { unsigned n; struct { short a, b; } item[]; }; struct flexible x;",
         "struct flexible 4 { n@0 unsigned int; item@4 { a@0 short; b@2 short; }[]; }\n"},
        {"struct matrix", "struct matrix { double m[3][4]; char *names[2][5]; int none[0]; }; struct matrix x;",
         "struct matrix 176 { m@0 double[4][3]; names@96 *char[5][2]; none@176 int[]; }\n"},
        {"struct calls",
         "struct calls { int (*compare)(const void *, const void *); void (*table[4])(struct calls *); const volatile "
         "struct calls *const self; };"
         " struct calls x;",
         "struct calls 48 { compare@0 *function; table@8 *function[4]; self@40 *struct calls; }\n"},
        {"point_t", "typedef struct { int x, y; } point_t; typedef point_t again; struct s { again a; } y; point_t x;",
         "point_t 8 { x@0 int; y@4 int; }\n"},
        {"handle", "typedef struct hidden *handle; struct holder { handle h; } x;", "struct hidden 0 { }\n"},
        {"struct atoms",
         "#include <stdatomic.h>\nstruct atoms { _Atomic int a; _Atomic unsigned long b; _Atomic(struct atoms *) p; "
         "char *restrict r; };"
         " struct atoms x;",
         "struct atoms 32 { a@0 int; b@8 unsigned long; p@16 *struct atoms; r@24 *char; }\n"},
        {"struct a",
         "struct b; struct c { struct b *back; int n; }; struct b { struct c c[2]; struct a *up; }; struct a { struct "
         "b b; }; struct a x;",
         "struct a 40 { b@0 struct b; }\n"
         "struct b 40 { c@0 struct c[2]; up@32 *struct a; }\n"
         "struct c 16 { back@0 *struct b; n@8 int; }\n"},
        {"union value", "union value { int i; double d; char text[16]; union value *next; }; union value x;",
         "union value 16 { i@0 int; d@0 double; text@0 char[16]; next@0 *union value; }\n"},
        {"struct packed",
         "struct __attribute__((packed)) packed { char a; long b; unsigned c : 4, d : 9; }; struct packed x;",
         "struct packed 11 { a@0 char; b@1 long; c@9:0+4 unsigned int; d@9:4+9 unsigned int; }\n"},
        {"struct local", "void *f(void); void *f(void) { static struct local { int a; } l; return &l; }",
         "struct local 4 { a@0 int; }\n"},
};

static const struct declaration cc_declarations[] = {
        {"class app::Shape",
         "namespace app { struct Base { virtual ~Base() {} int id; }; class Shape : public Base { public: enum class "
         "Kind : unsigned char { A, B };"
         " Kind kind; int &ref; static int count; struct Inner { bool b; } inner; Shape *next; Shape(int &r) : ref(r) "
         "{} };"
         " int Shape::count; } int n; app::Shape x(n);",
         "class app::Shape 40 { @0 struct app::Base; kind@12 enum app::Shape::Kind; ref@16 *int; inner@24 struct "
         "app::Shape::Inner; "
         "next@32 *class app::Shape; }\n"
         "struct app::Base 16 { _vptr.Base@0 **function; id@8 int; }\n"
         "enum app::Shape::Kind 1 { A=0 B=1 }\n"
         "struct app::Shape::Inner 1 { b@0 bool; }\n"},
        {"Plain", "struct Plain { int a; int Plain::*m; void (Plain::*f)(); }; Plain x;",
         "struct Plain 32 { a@0 int; m@8 unknown(8); f@16 unknown(16); }\n"},
};

static const char *const c_flags[] = {"gcc -g -gdwarf-4 -O0",
                                      "gcc -g -gdwarf-5 -O2",
                                      "gcc -g -gdwarf-5 -fdebug-types-section",
                                      "gcc -g -gdwarf-4 -fdebug-types-section -O2",
                                      "gcc -g -gdwarf-2 -gstrict-dwarf",
                                      "gcc -g -flto -O2",
                                      "gcc -g -gz -gsplit-dwarf",
                                      "clang -g -gz -gdwarf-5 -gsplit-dwarf",
                                      "clang -g -gdwarf-4 -O0",
                                      "clang -g -gdwarf-5 -O2",
                                      "clang -g -gdwarf-2",
                                      "clang -g -gdwarf-4 -fdebug-types-section"};
enum { C_FLAGS = sizeof(c_flags) / sizeof(c_flags[0]) };

/* Runs a command; fails the test with what it says. */
static void run(const char *format, ...)
{
	char command[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command))
		fail_msg("this failed: %s", command);
}

static bool has_compiler(const char *flags)
{
	return strncmp(flags, "clang", 5) || !system("command -v clang >/dev/null 2>&1");
}

static const char *another_compiler(void)
{
	return has_compiler("clang") ? "clang -g" : "gcc -g -gdwarf-4";
}

static void source_write(const char *path, const char *source)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "%s\nextern %sint anchor;\nint anchor = 1;\n", source, strstr(path, ".cc") ? "\"C\" " : "");
	fclose(f);
}

static unsigned modules_made;

/* A library of these units, whose sources end with NULL; loaded. */
static void *module_load(const char *flags, const char *suffix, const char *source)
{
	char c[300], so[300];
	void *library;

	snprintf(c, sizeof(c), "%s", scratch("unit"));
	snprintf(so, sizeof(so), "%s", scratch("unit"));
	snprintf(c + strlen(c), 40, "%u%s", modules_made, suffix);
	snprintf(so + strlen(so), 40, "%u.so", modules_made++);
	source_write(c, source);
	run("%s -w -shared -fPIC -Wl,--build-id -o %s %s", flags, so, c);
	library = dlopen(so, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	return library;
}

static struct types *types_read(void *library, const char *root, int *err, char *why, size_t room)
{
	struct types_near near = {.address = dlsym(library, "anchor")};
	struct types *types = NULL;
	void *bytes;
	size_t n;

	*err = spm_types_read(root, &near, &bytes, &n, why, room);
	if (!*err) {
		assert_int_equal(spm_types_load(bytes, n, &types), 0);
		free(bytes);
	}
	return types;
}

static void must_be(const char *what, struct types *types, const char *expected)
{
	char *text = type_text(&types->type[0]);

	if (strcmp(text, expected))
		fail_msg("%s: expected\n%s\nbut it is\n%s", what, expected, text);
	free(text);
}

static void declaration_check(const struct declaration *d, const char *flags, const char *suffix)
{
	void *library = module_load(flags, suffix, d->source);
	char why[400], what[600];
	int err;
	struct types *types = types_read(library, d->root, &err, why, sizeof(why));

	snprintf(what, sizeof(what), "%s: %s", flags, d->root);
	if (!types)
		fail_msg("%s: error %d: %s", what, err, why);
	must_be(what, types, d->text);
	assert_true(spm_types_are_here(types));
	dlclose(library);
	assert_false(spm_types_are_here(types));
	spm_types_free(types);
}

static void compilers_agree_about_c(void **state)
{
	(void)state;
	for (unsigned f = 0; f < C_FLAGS; f++)
		for (size_t i = 0; has_compiler(c_flags[f]) && i < sizeof(c_declarations) / sizeof(c_declarations[0]);
		     i++)
			declaration_check(&c_declarations[i], c_flags[f], ".c");
}

static void compilers_agree_about_cc(void **state)
{
	static const char *const flags[] = {"g++ -g -gdwarf-4", "g++ -g -gdwarf-5 -O2 -fdebug-types-section",
	                                    "clang++ -g -O0", "clang++ -g -gdwarf-5 -O2"};

	(void)state;
	for (unsigned f = 0; f < sizeof(flags) / sizeof(flags[0]); f++)
		for (size_t i = 0; has_compiler(flags[f]) && i < sizeof(cc_declarations) / sizeof(cc_declarations[0]);
		     i++)
			declaration_check(&cc_declarations[i], flags[f], ".cc");
}

/* ---- where debug information is, and is not ---- */

/* A library of two units, one of which has `anchor`. */
static void *two_units_load(const char *flags, const char *first, const char *second)
{
	char c[300], so[310];
	FILE *f;
	void *library;

	snprintf(c, sizeof(c), "%s%u.second.c", scratch("unit"), modules_made);
	snprintf(so, sizeof(so), "%s.so", c);
	f = fopen(c, "w");
	assert_non_null(f);
	fputs(second, f);
	fclose(f);
	snprintf(c, sizeof(c), "%s%u.first.c", scratch("unit"), modules_made);
	source_write(c, first);
	run("%s -w -shared -fPIC -Wl,--build-id -o %s %s %s%u.second.c", flags, so, c, scratch("unit"), modules_made++);
	library = dlopen(so, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	return library;
}

static void must_fail(void *library, const char *root, int expected, const char *part)
{
	char why[400];
	int err;

	assert_null(types_read(library, root, &err, why, sizeof(why)));
	assert_int_equal(err, expected);
	if (!strstr(why, part))
		fail_msg("expected \"%s\" in \"%s\"", part, why);
}

static void must_tell(void *library, const char *root, const char *expected)
{
	char why[400];
	int err;
	struct types *types = types_read(library, root, &err, why, sizeof(why));

	if (!types)
		fail_msg("%s: error %d: %s", root, err, why);
	must_be(root, types, expected);
	spm_types_free(types);
}

static void a_declared_type_is_found_where_it_is_defined(void **state)
{
	static const char text[] = "struct owner 8 { part@0 *struct part; }\nstruct part 4 { n@0 int; }\n";
	void *units = two_units_load("gcc -g", "struct part; struct owner { struct part *part; }; struct owner x;",
	                             "struct part { int n; }; struct part y;");
	void *alone, *other;

	(void)state;
	must_tell(units, "struct owner", text);
	dlclose(units);
	alone = module_load("gcc -g", ".c", "struct part; struct owner { struct part *part; }; struct owner x;");
	must_tell(alone, "struct owner", "struct owner 8 { part@0 *struct part; }\nstruct part 0 { }\n");
	other = module_load(another_compiler(), ".c", "struct part { int n; }; struct part y;");
	must_tell(alone, "struct owner", text);
	dlclose(other);
	other = two_units_load("gcc -g", "struct part { int n; }; struct part y;",
	                       "struct part { long n; }; struct part z;");
	must_tell(alone, "struct owner", "struct owner 8 { part@0 *struct part; }\nstruct part 0 { }\n");
	dlclose(other);
	dlclose(alone);
}

static void different_definitions_are_told(void **state)
{
	void *units = two_units_load("gcc -g", "struct twice { int n; }; struct twice x;",
	                             "struct twice { int n; int m; }; struct twice y;");
	void *third, *same;

	(void)state;
	must_fail(units, "struct twice", -EINVAL, "type struct twice is defined differently in several units of unit");
	third = module_load("gcc -g", ".c", "struct twice { long n; }; struct twice y;");
	must_tell(third, "struct twice", "struct twice 8 { n@0 long; }\n");
	dlclose(units);
	units = module_load("gcc -g", ".c", "struct other { long n; }; struct other y;");
	must_tell(units, "struct twice", "struct twice 8 { n@0 long; }\n");
	same = module_load(another_compiler(), ".c", "struct twice { long n; }; struct twice y;");
	must_tell(units, "struct twice", "struct twice 8 { n@0 long; }\n");
	dlclose(same);
	same = module_load("gcc -g", ".c", "struct twice { long m; }; struct twice y;");
	must_fail(units, "struct twice", -EINVAL, "in several units of the libraries that are loaded");
	dlclose(same);
	dlclose(third);
	dlclose(units);
}

static void without_debug_information_it_is_said_what_to_do(void **state)
{
	static const char source[] =
	        "struct only_here { int n; }; struct only_here x; int f(void); int f(void) { return x.n; }";
	void *none = module_load("gcc", ".c", source), *little = module_load("gcc -g1", ".c", source),
	     *all = module_load("gcc -g", ".c", "struct else_where { int n; }; struct else_where y;");

	(void)state;
	must_fail(none, "struct only_here", -ENOENT, "no type struct only_here in unit");
	must_fail(none, "struct only_here", -ENOENT, ": compile it with -g");
	must_fail(little, "struct only_here", -ENOENT, ": compile it with -g (-g1 leaves types out)");
	must_fail(all, "struct only_here", -ENOENT, "is it spelled right");
	must_fail(all, "", -ENOENT, "no type");
	must_fail(all, "struct ", -ENOENT, "no type");
	dlclose(none);
	dlclose(little);
	dlclose(all);
}

/* Loads SO, which was made by these commands, each with the library's name as its parameters. */
static void *module_make(const char *commands, const char *source)
{
	char base[300], so[310];
	void *library;

	snprintf(base, sizeof(base), "%s%u", scratch("unit"), modules_made++);
	snprintf(so, sizeof(so), "%s.c", base);
	source_write(so, source);
	snprintf(so, sizeof(so), "%s.so", base);
	run("B=%s; cd $(dirname $B) && B=$(basename $B) && { gcc -g -w -shared -fPIC -Wl,--build-id -o $B.so $B.c && "
	    "%s; } >/dev/null",
	    base, commands);
	library = dlopen(so, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	return library;
}

static void separate_debug_files_are_found(void **state)
{
	static const char source[] = "struct apart { int n; }; struct apart x;",
	                  text[] = "struct apart 4 { n@0 int; }\n";
	void *beside = module_make("objcopy --only-keep-debug $B.so $B.debug && strip -g $B.so && objcopy "
	                           "--add-gnu-debuglink=$B.debug $B.so",
	                           source);
	void *stripped;

	(void)state;
	must_tell(beside, "struct apart", text);
	dlclose(beside);
	stripped = module_make("strip -g $B.so", source);
	must_fail(stripped, "struct apart", -ENOENT, "compile it with -g");
	dlclose(stripped);
}

static void a_file_that_was_replaced_is_not_believed(void **state)
{
	void *library = module_load("gcc -g", ".c", "struct replaced { int n; }; struct replaced x;");
	struct {
		const char *path;
	} *map = (void *)((char *)library + 8); /* struct link_map: its address, its name */
	char path[300];

	(void)state;
	must_tell(library, "struct replaced", "struct replaced 4 { n@0 int; }\n");
	snprintf(path, sizeof(path), "%s", map->path);
	run("echo 'struct replaced { long n; } x;' >%s.c && gcc -g -shared -fPIC -Wl,--build-id -o %s.new %s.c && mv "
	    "%s.new %s",
	    path, path, path, path, path);
	must_fail(library, "struct replaced", -ENOENT, "compile it with -g");
	dlclose(library);
}

/* ---- bytes that are no types ---- */

#define HEAD "SPTYPES1\1\0m\0\0r\0"
#define LOAD(bytes) load_copy(bytes, sizeof(bytes) - 1)

static int load_copy(const char *bytes, size_t n)
{
	struct types *t;
	char *copy = malloc(n);
	int err;

	memcpy(copy, bytes, n);
	err = spm_types_load(copy, n, &t);
	free(copy);
	if (!err)
		spm_types_free(t);
	return err;
}

static void only_sound_graphs_are_taken(void **state)
{
	(void)state;
	assert_int_equal(LOAD(HEAD "\1\0\0\3int\0\4"), 0);
	assert_int_equal(LOAD(HEAD "\1\0\0\3int\0\4x"), -EINVAL);                    /* more behind */
	assert_int_equal(LOAD(HEAD "\0\0\0"), -EINVAL);                              /* no root */
	assert_int_equal(LOAD(HEAD "\177\0\0\3int\0\4"), -EINVAL);                   /* too many */
	assert_int_equal(LOAD(HEAD "\1\0\0\15int\0\4"), -EINVAL);                    /* no such kind */
	assert_int_equal(LOAD(HEAD "\1\0\0\3int\0\21"), -EINVAL);                    /* 17 bytes */
	assert_int_equal(LOAD(HEAD "\1\0\0\7\0\10\0"), 0);                           /* a pointer to itself */
	assert_int_equal(LOAD(HEAD "\1\0\0\7\0\4\0"), -EINVAL);                      /* of 4 bytes */
	assert_int_equal(LOAD(HEAD "\1\0\0\7\0\10\1"), -EINVAL);                     /* to nothing */
	assert_int_equal(LOAD(HEAD "\1\0\0\11\0\10\0\1"), -EINVAL);                  /* an array of itself */
	assert_int_equal(LOAD(HEAD "\1\1\0\12s\0\10\1m\0\0\0\0"), -EINVAL);          /* a struct within itself */
	assert_int_equal(LOAD(HEAD "\2\1\0\12s\0\10\1m\0\1\0\0\7\0\10\0"), 0);       /* behind a pointer */
	assert_int_equal(LOAD(HEAD "\2\1\0\12s\0\10\1m\0\1\1\0\7\0\10\0"), -EINVAL); /* a member that ends outside */
	assert_int_equal(LOAD(HEAD "\2\1\0\12s\0\10\1m\0\1\0\41\0\3\0\4"), -EINVAL); /* 33 bits of an int */
	assert_int_equal(LOAD(HEAD "\2\1\0\12s\0\1\1m\0\1\0\4\5\3\0\4"), -EINVAL);   /* bits that end outside */
	assert_int_equal(LOAD(HEAD "\2\0\0\11\0\10\1\2\3\0\4"), 0);                  /* int[2] */
	assert_int_equal(LOAD(HEAD "\2\0\0\11\0\10\1\3\3\0\4"), -EINVAL);            /* int[3] of 8 bytes */
	assert_int_equal(LOAD(HEAD "\2\0\0\11\0\0\1\0\0v\0\0"), -EINVAL);            /* void[] */
	assert_int_equal(LOAD(HEAD "\1\0\0\14\0\377\377\377\377\377\377\377\377\377\1"), -EINVAL); /* 2^64 - 1 bytes */
	assert_int_equal(LOAD(HEAD "\1\0\0\14\0\200\200\200\200\200\200\200\200\200\2"), -EINVAL); /* beyond 64 bits */
	assert_int_equal(LOAD(HEAD "\2\0\0\11\0\0\1\200\200\200\200\200\200\200\200\20\3\0\4"),
	                 -EINVAL); /* 2^60 of them */
	assert_int_equal(LOAD("SPTYPES1\0"), -EINVAL);
	assert_int_equal(LOAD("SPTYPES2\1\0m\0\0r\0\1\0\0\3int\0\4"), -EINVAL);
}

static void nesting_ends(void **state)
{
	char bytes[2000] = HEAD;

	(void)state;
	for (unsigned depth = TYPES_DEPTH_MOST; depth <= TYPES_DEPTH_MOST + 1; depth++) {
		size_t n = sizeof(HEAD) - 1;

		bytes[n++] = (char)depth;
		bytes[n++] = (char)(depth - 1);
		bytes[n++] = 0;
		for (unsigned i = 1; i < depth; i++) {
			memcpy(bytes + n, "\12\0\4\1m\0i\0\0", 9);
			bytes[n + 6] = (char)i;
			n += 9;
		}
		memcpy(bytes + n, "\3\0\4", 3);
		assert_int_equal(load_copy(bytes, n + 3), depth > TYPES_DEPTH_MOST ? -EINVAL : 0);
	}
}

/* What a program told beside: with further roots and rules of both kinds. */
static void told(const void *plain, size_t n, void **bytes, size_t *told_n)
{
	const struct types_case cases[] = {{-1, "l"}, {0, ""}, {300, "l"}};
	const struct types_rule rules[] = {{.path = "struct outer.b", .root = 1},
	                                   {.path = "struct outer.", .tag = "pos.y", .of = cases, .cases = 3},
	                                   {.path = "struct nobody.b", .root = 0},
	                                   {.path = "struct outer.v", .tag = "pos.y", .of = cases, .cases = 3}};
	const char *const roots[] = {"int", "struct nobody"};
	struct types *t;

	assert_int_equal(spm_types_load(plain, n, &t), 0);
	assert_int_equal(spm_rules_put(t, roots, 2, rules, 4, bytes, told_n), 0);
	spm_types_free(t);
	assert_int_equal(spm_types_load(*bytes, *told_n, &t), 0);
	assert_true(t->roots == 3 && !strcmp(t->all_roots[1].type->name, "int") && !t->all_roots[2].type);
	assert_true(t->rule[0].fits && t->rule[1].fits && !t->rule[2].fits && !t->rule[3].fits);
	assert_true(t->type[0].member[1].choice->tag_at == -4 && t->type[0].member[1].choice->n == 3);
	spm_types_free(t);
}

static void bytes_change(const void *read, size_t n)
{
	uint64_t seed = test_seed();
	char *bytes = malloc(n);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(load_copy(read, i), -EINVAL);
	for (unsigned i = 0; i < 20000; i++) {
		memcpy(bytes, read, n);
		for (unsigned k = 0; k < 1 + i % 3; k++)
			bytes[test_random(&seed) % n] = (char)test_random(&seed);
		load_copy(bytes, n);
	}
	free(bytes);
}

/* Whatever is cut off or changed: a refusal, or another graph. The sanitizers see the rest. */
static void changed_bytes_do_no_harm(void **state)
{
	void *library = module_load("gcc -g", ".c", c_declarations[4].source);
	struct types_near near = {.address = dlsym(library, "anchor")};
	char why[400];
	void *read, *more;
	size_t n, more_n;

	(void)state;
	assert_int_equal(spm_types_read("struct outer", &near, &read, &n, why, sizeof(why)), 0);
	bytes_change(read, n);
	told(read, n, &more, &more_n);
	bytes_change(more, more_n);
	free(more);
	free(read);
	dlclose(library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(only_sound_graphs_are_taken),
	        cmocka_unit_test(nesting_ends),
	        cmocka_unit_test(changed_bytes_do_no_harm),
	        cmocka_unit_test(compilers_agree_about_c),
	        cmocka_unit_test(compilers_agree_about_cc),
	        cmocka_unit_test(a_declared_type_is_found_where_it_is_defined),
	        cmocka_unit_test(different_definitions_are_told),
	        cmocka_unit_test(without_debug_information_it_is_said_what_to_do),
	        cmocka_unit_test(separate_debug_files_are_found),
	        cmocka_unit_test(a_file_that_was_replaced_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
