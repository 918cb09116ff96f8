/* test_types.c - types read from debug information: what gcc and clang say of the same declarations, with the flags that change how they say it,
 * is the same; and blobs of them (lib/types/types.h) that are malformed are refused.
 *
 * Declarations are compiled while the test runs, as libraries that it loads: so they are in modules of this process.
 */
#include "scratch.h"
#include "type_text.h"
#include "types/dwarf.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(compilers_agree_about_c),
	        cmocka_unit_test(compilers_agree_about_cc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
