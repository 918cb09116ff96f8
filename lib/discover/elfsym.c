/* elfsym.c - see elfsym.h.
 *
 * The file is read once: symbols sorted by address, and the same symbols sorted by name. A file has the same symbol in
 * .symtab and in .dynsym, and may have several names for one address; among those that cover an address the one that
 * starts last wins, then a global one, then the first in the alphabet, so that every process chooses the same.
 */
#include "discover/elfsym.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
	uint64_t start, bytes;
	const char *name, *file;
	bool is_function;
};

struct elfsyms {
	struct entry *by_address;
	const struct entry **by_name;
	uint64_t *reach; /* reach[i]: highest end of by_address[0..i] */
	size_t count, room;
	char *text[2]; /* copies of the string tables */
	unsigned texts;
};

void spm_elfsyms_free(struct elfsyms *s)
{
	if (!s)
		return;
	free(s->by_address);
	free(s->by_name);
	free(s->reach);
	free(s->text[0]);
	free(s->text[1]);
	free(s);
}

static bool note_matches(Elf_Data *data, const unsigned char *id, size_t id_bytes)
{
	GElf_Nhdr note;
	size_t at = 0, name, body;

	while ((at = gelf_getnote(data, at, &note, &name, &body)) > 0)
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz >= id_bytes &&
		    !memcmp((char *)data->d_buf + name, "GNU", 4))
			return !memcmp((char *)data->d_buf + body, id, id_bytes);
	return false;
}

static bool is_build(Elf *elf, const unsigned char *id, size_t id_bytes)
{
	GElf_Shdr section;

	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn));) {
		Elf_Data *data;

		if (!gelf_getshdr(scn, &section) || section.sh_type != SHT_NOTE)
			continue;
		data = elf_getdata(scn, NULL);
		if (data && note_matches(data, id, id_bytes))
			return true;
	}
	return id_bytes == 0;
}

/* A copy of the string table, with a zero behind it. */
static const char *text_copy(struct elfsyms *s, Elf *elf, size_t section, size_t *bytes)
{
	Elf_Scn *scn = elf_getscn(elf, section);
	Elf_Data *data = scn ? elf_getdata(scn, NULL) : NULL;
	char *copy = data && data->d_buf && s->texts < 2 ? malloc(data->d_size + 1) : NULL;

	if (!copy)
		return NULL;
	memcpy(copy, data->d_buf, data->d_size);
	copy[data->d_size] = 0;
	*bytes = data->d_size;
	return s->text[s->texts++] = copy;
}

static bool entry_add(struct elfsyms *s, struct entry e)
{
	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		struct entry *more = realloc(s->by_address, room * sizeof(*more));

		if (!more)
			return false;
		s->by_address = more;
		s->room = room;
	}
	s->by_address[s->count++] = e;
	return true;
}

/* An undefined symbol with an address is a library's function in a program that is not position independent: every
 * pointer to that function has the address of the program's jump to it. */
static bool is_wanted(const GElf_Sym *sym)
{
	unsigned type = GELF_ST_TYPE(sym->st_info);

	return (sym->st_shndx != SHN_UNDEF || sym->st_value) && sym->st_shndx != SHN_ABS &&
	       (type == STT_FUNC || type == STT_OBJECT || type == STT_GNU_IFUNC);
}

static bool section_read(struct elfsyms *s, Elf *elf, Elf_Scn *scn, const GElf_Shdr *section)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t bytes = 0;
	const char *text = text_copy(s, elf, section->sh_link, &bytes), *file = "";
	GElf_Sym sym;

	if (!data || !text || !section->sh_entsize)
		return true;
	for (int i = 0; i < (int)(section->sh_size / section->sh_entsize) && gelf_getsym(data, i, &sym); i++) {
		if (sym.st_name >= bytes)
			continue;
		if (GELF_ST_TYPE(sym.st_info) == STT_FILE)
			file = text + sym.st_name;
		if (!is_wanted(&sym) || !text[sym.st_name])
			continue;
		if (!entry_add(s, (struct entry){.start = sym.st_value,
		                                 .bytes = sym.st_size,
		                                 .name = text + sym.st_name,
		                                 .file = GELF_ST_BIND(sym.st_info) == STB_LOCAL ? file : "",
		                                 .is_function = GELF_ST_TYPE(sym.st_info) != STT_OBJECT}))
			return false;
	}
	return true;
}

/* Among equal starts: local before global, then backwards in the alphabet: the search takes the last that fits. */
static int address_order(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (!*a->file != !*b->file)
		return *a->file ? -1 : 1;
	return -strcmp(a->name, b->name);
}

static int name_compare(const struct entry *a, const char *name, const char *file)
{
	int order = strcmp(a->name, name);

	return order ? order : strcmp(a->file, file);
}

static int name_order(const void *left, const void *right)
{
	const struct entry *const *a = left, *const *b = right;

	return name_compare(*a, (*b)->name, (*b)->file);
}

static bool order_make(struct elfsyms *s)
{
	s->by_name = malloc((s->count + 1) * sizeof(*s->by_name));
	s->reach = malloc((s->count + 1) * sizeof(*s->reach));
	if (!s->count || !s->by_name || !s->reach)
		return false;
	qsort(s->by_address, s->count, sizeof(*s->by_address), address_order);
	for (size_t i = 0; i < s->count; i++) {
		const struct entry *e = &s->by_address[i];
		uint64_t end = e->start + (e->bytes ? e->bytes : 1);

		s->by_name[i] = e;
		s->reach[i] = i && s->reach[i - 1] > end ? s->reach[i - 1] : end;
	}
	qsort(s->by_name, s->count, sizeof(*s->by_name), name_order);
	return true;
}

static bool all_read(struct elfsyms *s, Elf *elf)
{
	GElf_Shdr section;

	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn));)
		if (gelf_getshdr(scn, &section) && (section.sh_type == SHT_SYMTAB || section.sh_type == SHT_DYNSYM) &&
		    !section_read(s, elf, scn, &section))
			return false;
	return order_make(s);
}

struct elfsyms *spm_elfsyms_read(const char *path, const unsigned char *id, size_t id_bytes)
{
	struct elfsyms *s = NULL;
	Elf *elf = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && elf_version(EV_CURRENT) != EV_NONE)
		elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && is_build(elf, id, id_bytes))
		s = calloc(1, sizeof(*s));
	if (s && !all_read(s, elf)) {
		spm_elfsyms_free(s);
		s = NULL;
	}
	if (elf)
		elf_end(elf);
	if (fd >= 0)
		close(fd);
	return s;
}

bool spm_elfsyms_at(const struct elfsyms *s, uint64_t offset, struct elfsym *out)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->by_address[middle].start <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- > 0 && s->reach[low] > offset) {
		const struct entry *e = &s->by_address[low];

		if (offset - e->start >= (e->bytes ? e->bytes : 1))
			continue;
		*out = (struct elfsym){e->name, e->file, offset - e->start, e->is_function};
		return true;
	}
	return false;
}

static size_t name_first(const struct elfsyms *s, const struct elfsym *want)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (name_compare(s->by_name[middle], want->name, want->file) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool fits(const struct entry *e, const struct elfsym *want)
{
	if (e->is_function != want->is_function)
		return false;
	return want->is_function ? want->distance == 0 : want->distance < (e->bytes ? e->bytes : 1);
}

bool spm_elfsyms_find(const struct elfsyms *s, const struct elfsym *want, uint64_t *offset)
{
	size_t i = name_first(s, want);
	const struct entry *found = i < s->count ? s->by_name[i] : NULL;

	if (!found || name_compare(found, want->name, want->file) || !fits(found, want))
		return false;
	while (++i < s->count && !name_compare(s->by_name[i], want->name, want->file))
		if (s->by_name[i]->start != found->start)
			return false;
	*offset = found->start + want->distance;
	return true;
}
