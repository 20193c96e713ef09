/* SPDX-License-Identifier: ISC */

/* budd.conf and budd.conf.d/, from the disk to the memory. */
#include "daemon/config_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/config_report.h"
#include "daemon/config_value.h"

/* NULL, and told: out of memory, not readable, or no text. */
static char *
read_stream(FILE *f, struct config_place at, struct config_report *report)
{
	char *text = malloc(CONFIG_FILE_MAX + 2), *nul;
	size_t len;

	if (text == NULL) {
		config_error(report, at, "out of memory");
		return NULL;
	}
	len = fread(text, 1, CONFIG_FILE_MAX + 1, f);
	text[len] = '\0';
	nul = memchr(text, '\0', len);
	if (ferror(f)) {
		config_error(report, at, "cannot be read: %s", strerror(errno));
	} else if (len > CONFIG_FILE_MAX) {
		config_error(report, at, "larger than %s: name a budd.conf",
		    config_show_size(CONFIG_FILE_MAX).s);
	} else if (nul != NULL) {
		at.line = 1;
		for (const char *c = text; c < nul; c++)
			at.line += *c == '\n';
		config_error(
		    report, at, "a NUL byte: this is no text; name a budd.conf");
	} else {
		return text;
	}
	free(text);
	return NULL;
}

static char *
read_file(const char *path, bool optional, struct config_report *report)
{
	struct config_place at = { path, 0 };
	FILE *f = fopen(path, "re");
	char *text = NULL;

	if (f != NULL) {
		text = read_stream(f, at, report);
		fclose(f);
	} else if (errno != ENOENT || !optional) {
		config_error(report, at, "cannot be opened: %s", strerror(errno));
	} else if ((text = strdup("")) == NULL) {
		config_error(report, at, "out of memory");
	}
	return text;
}

static int
is_dropin(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return e->d_name[0] != '.' && len > strlen(".conf") &&
	       strcmp(e->d_name + len - strlen(".conf"), ".conf") == 0;
}

/* Byte by byte: alphasort() would follow the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static char *
join(const char *a, const char *b, const char *c)
{
	char *s = NULL;

	return asprintf(&s, "%s%s%s", a, b, c) == -1 ? NULL : s;
}

/* How many drop-ins there are; 0 also when there is no directory, or an error was told. */
static size_t
list_dropins(const char *path, struct dirent ***namesp, struct config_report *report)
{
	char *dir = join(path, ".d", "");
	int n = dir != NULL ? scandir(dir, namesp, is_dropin, by_name) : -1;

	if (dir == NULL)
		config_error(report, (struct config_place){ path, 0 }, "out of memory");
	else if (n == -1 && errno != ENOENT)
		config_error(report, (struct config_place){ dir, 0 },
		    "cannot be opened: %s", strerror(errno));
	free(dir);
	return n >= 0 ? (size_t)n : 0;
}

/* @path is allocated, and ours from here on; NULL: it could not be. */
static void
add_file(
    struct config_files *files, char *path, bool optional, struct config_report *report)
{
	char *text = NULL;

	if (path == NULL)
		config_error(
		    report, (struct config_place){ "budd", 0 }, "out of memory");
	else
		text = read_file(path, optional, report);
	if (text != NULL)
		files->texts[files->count++] = (struct config_text){ path, text };
	else
		free(path);
}

void
config_files_read(struct config_files *files, const char *path, bool optional,
    struct config_report *report)
{
	struct dirent **names = NULL;
	size_t n = list_dropins(path, &names, report), i;

	files->count = 0;
	files->texts = calloc(n + 1, sizeof(*files->texts));
	if (files->texts != NULL)
		add_file(files, join(path, "", ""), optional, report);
	else
		config_error(report, (struct config_place){ path, 0 }, "out of memory");
	for (i = 0; i < n; i++) {
		if (files->texts != NULL)
			add_file(
			    files, join(path, ".d/", names[i]->d_name), false, report);
		free(names[i]);
	}
	free(names);
}

/* Only here are they not const: to others, a text is a text. */
static void
free_const(const char *s)
{
	free((void *)(uintptr_t)s);
}

void
config_files_free(struct config_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free_const(files->texts[i].name);
		free_const(files->texts[i].text);
	}
	free(files->texts);
}
