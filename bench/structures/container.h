/* container.h - what the structures with SoftPM have in common: one container, and pPointSync, which is the point. */
#ifndef CONTAINER_H
#define CONTAINER_H

#include "structures.h"

/* *root becomes the root structure; its size. Returns whether it is a new one, all zero. Each process has a container of its own in one volume. */
bool container_open(const struct setting *setting, int bytes, void **root);
void container_point(void);
uint64_t container_stored_bytes(void);
uint64_t container_dirty_pages(void);
void container_close(void);

#endif
