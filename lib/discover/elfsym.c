/* elfsym.c - see elfsym.h. Looked up once for each pointer target that is new to a container, so opening the file each time does. */
#include "discover/elfsym.h"

#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

struct lookup {
	const char *name; /* wanted, or NULL */
	uint64_t offset;  /* wanted if no name */
	char *found;
	size_t room;
	uint64_t value;
	bool is_found;
};

static void symbol_try(struct lookup *l, Elf *elf, const GElf_Shdr *section, const GElf_Sym *s)
{
	unsigned type = GELF_ST_TYPE(s->st_info);
	const char *name;

	if (s->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_OBJECT) || l->is_found)
		return;
	if (!l->name && (l->offset < s->st_value || l->offset >= s->st_value + (s->st_size ? s->st_size : 1)))
		return;
	name = elf_strptr(elf, section->sh_link, s->st_name);
	if (!name || !*name || (l->name && strcmp(name, l->name)))
		return;
	l->value = s->st_value;
	l->is_found = true;
	if (!l->name)
		strncpy(l->found, name, l->room - 1);
}

static void section_search(struct lookup *l, Elf *elf, Elf_Scn *scn)
{
	GElf_Shdr section;
	Elf_Data *data = elf_getdata(scn, NULL);
	GElf_Sym s;

	if (!gelf_getshdr(scn, &section) || !data || !section.sh_entsize)
		return;
	if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM)
		return;
	for (int i = 0; i < (int)(section.sh_size / section.sh_entsize) && !l->is_found; i++)
		if (gelf_getsym(data, i, &s))
			symbol_try(l, elf, &section, &s);
}

static bool file_search(const char *path, struct lookup *l)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf;

	if (fd < 0)
		return false;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	for (Elf_Scn *scn = NULL; elf && !l->is_found && (scn = elf_nextscn(elf, scn));)
		section_search(l, elf, scn);
	elf_end(elf);
	close(fd);
	return l->is_found;
}

bool spm_elfsym_name(const char *path, uint64_t offset, char *name, size_t room, uint64_t *distance)
{
	struct lookup l = {.offset = offset, .found = name, .room = room};

	memset(name, 0, room);
	if (!file_search(path, &l))
		return false;
	*distance = offset - l.value;
	return true;
}

bool spm_elfsym_find(const char *path, const char *name, uint64_t *offset)
{
	struct lookup l = {.name = name};

	if (!file_search(path, &l))
		return false;
	*offset = l.value;
	return true;
}
