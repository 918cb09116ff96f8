/* clone.h - the process's memory as it was at one instant, kept by a child that does nothing else.
 *
 * clone(2) without CLONE_VM shares all pages copy-on-write: it costs what copying the page tables costs (5 to 8 ms for
 * each resident GiB in small pages, much less in huge ones), not what copying the pages would; a page written later
 * while the child lives costs 3 to 15 us. So it pays for large dirty sets (bench/points).
 *
 * The child is no child that the program knows of: it sends no signal when it ends and wait(2) does not see it; it
 * closes all files first, so that none stays open or locked because of it; all its signals are blocked. It ends when it
 * is dropped, or when the process ends or calls exec.
 */
#ifndef SPM_CLONE_H
#define SPM_CLONE_H

#include "base/base.h"

#include <sys/types.h>

struct memory_clone {
	pid_t child; /* 0: none */
	bool is_open;
	int memory_fd;
};

/* Before a stop: what making one needs. 0 or -errno: cloning is not possible here. */
int spm_clone_prepare(void);
/* Stopped, after spm_clone_prepare. 0 or -errno (no memory, too many processes): then nothing was made. */
int spm_clone_make(struct memory_clone *c);
/* Copies what memory was at that instant. 0 or -errno; -ESRCH: somebody killed the child. */
int spm_clone_read(struct memory_clone *c, uint64_t address, size_t bytes, void *to);
void spm_clone_drop(struct memory_clone *c);

#endif
