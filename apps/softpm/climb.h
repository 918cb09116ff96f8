/* climb.h - from objects up to the root: what leads to them, found by reading all memory in order, as often as it takes.
 *
 *   wanted objects --a pass over all words--> what leads to one of the set joins it --next pass--> ... --> the root
 *
 * A version does not keep who leads to an object, and the walk from the root (naming.h) must read each object where it lies. A pass reads all
 * in order, 1 GiB in less than a second, and finds what leads to any number of objects. What joins the set is looked for from there on in the same
 * pass: the first goes from the highest address down, for what leads to an object was mostly made before it (a tree), the next one up (a list
 * that grows at its head). So many levels take few passes.
 *
 * Any word counts that leads into an object: what is no pointer makes the set a little too large. The walk that is guided by it finds the
 * paths, by types.
 */
#ifndef TOOL_CLIMB_H
#define TOOL_CLIMB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plook;
struct climb;
struct climb *climb_begin(struct plook *look, const uint64_t *wanted, size_t n);
void climb_free(struct climb *c);
/* One pass. False: nothing joined the set, so another one would find no more; or memory could not be read. */
bool climb_pass(struct climb *c);
/* Bytes that a pass reads. */
uint64_t climb_pass_bytes(const struct climb *c);
/* Whether the object that begins there is in the set. */
bool climb_has(const struct climb *c, uint64_t object);
/* Whether the word leads into one of them. */
bool climb_leads(const struct climb *c, uint64_t word);

#endif
