/* files.c - the page's files, as they are in this folder, in the program. */
#include "web.h"

#include <string.h>

#define FILE_IN(symbol, name)                                                                                          \
	__asm__(".section .rodata\n" symbol ": .incbin \"" WEB_FOLDER "/" name "\"\n" symbol "_end:\n.previous\n")

FILE_IN("web_html", "page.html");
FILE_IN("web_css", "page.css");
FILE_IN("web_js", "page.js");
extern const char web_html[] __attribute__((visibility("hidden"))),
        web_html_end[] __attribute__((visibility("hidden")));
extern const char web_css[] __attribute__((visibility("hidden"))), web_css_end[] __attribute__((visibility("hidden")));
extern const char web_js[] __attribute__((visibility("hidden"))), web_js_end[] __attribute__((visibility("hidden")));

const struct web_file *web_file(const char *path)
{
	static const struct web_file files[] = {{"/", "text/html; charset=utf-8", web_html, web_html_end},
	                                        {"/page.css", "text/css; charset=utf-8", web_css, web_css_end},
	                                        {"/page.js", "text/javascript; charset=utf-8", web_js, web_js_end}};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!strcmp(files[i].path, path))
			return &files[i];
	return NULL;
}
