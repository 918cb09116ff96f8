/* reread.c - the same types once more, as they are in this process: from debug information, and by what the program told. */
#include "types/dwarf.h"
#include "types/rules.h"

#include <errno.h>
#include <stdlib.h>

/* The rules of `as` for types that have its roots. Takes bytes, which are types. */
static int retell(const struct types *as, const char *const *roots, size_t n, void *bytes, size_t bytes_n,
                  struct types **out)
{
	struct types *plain;
	int err = spm_types_load(bytes, bytes_n, &plain);

	free(bytes);
	if (err || !as->rules) {
		*out = err ? NULL : plain;
		return err;
	}
	err = spm_rules_put(plain, roots + 1, n - 1, as->rule, as->rules, &bytes, &bytes_n);
	spm_types_free(plain);
	if (!err) {
		err = spm_types_load(bytes, bytes_n, out);
		free(bytes);
	}
	return err;
}

int spm_types_reread(const struct types *as, const char *root, const char *more, const struct types_near *near,
                     struct types **out, char *why, size_t room)
{
	const char **name = calloc(as->roots + 1, sizeof(*name));
	struct types_asked asked = {name, as->roots, as->roots - 1};
	void *bytes;
	size_t n;
	int err;

	*why = 0;
	if (!name)
		return -ENOMEM;
	for (size_t i = 0; i < as->roots; i++)
		name[i] = as->all_roots[i].name;
	name[0] = root ? root : name[0];
	if (more)
		name[asked.n++] = more;
	err = asked.n > TYPES_ROOTS_MOST ? -E2BIG : spm_types_read_all(&asked, near, &bytes, &n, why, room);
	if (!err)
		err = retell(as, name, asked.n, bytes, n, out);
	free(name);
	return err;
}
