/* softpm.c - the plain structures (plain.c) with SoftPM: they lie in its memory, and hang on a container's root. Variants: plain. */
#include "container.h"
#include "plain.h"

static void softpm_open(const struct setting *setting)
{
	if (container_open(setting, sizeof(*plain), (void **)&plain))
		plain_init();
}

static const struct structure *const structures[] = {&plain_array, &plain_list, &plain_tree, &plain_hash, NULL};

int main(int argc, char **argv)
{
	return structures_main(argc, argv,
	                       &(struct system){structures, softpm_open, NULL, container_point, container_stored_bytes,
	                                        container_dirty_pages, container_close});
}
