/* SPDX-License-Identifier: ISC */

/* The process behind a pool. */
#include "budctl/process.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "budctl/fields.h"

/* One line, if that process is the user's whose pool it is: the number alone may mean another,
 * of another namespace or a later one. */
static bool
read_name(uint64_t pid, uint64_t uid, struct process_name *name)
{
	struct stat st;
	char path[64];
	bool ok;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu64, pid);
	if (stat(path, &st) == -1 || st.st_uid != uid)
		return false;
	strlcat(path, "/comm", sizeof(path));
	if ((f = fopen(path, "re")) == NULL)
		return false;
	ok = fgets(name->text, sizeof(name->text), f) != NULL;
	fclose(f);
	name->text[ok ? strcspn(name->text, "\n") : 0] = '\0';
	return ok;
}

struct process_name
process_name(const cJSON *owner)
{
	const char *command = field_text(owner, "command");
	struct process_name name;

	if (strcmp(command, "?") != 0 ||
	    !read_name(field_number(owner, "pid"), field_number(owner, "uid"), &name))
		strlcpy(name.text, command, sizeof(name.text));
	return name;
}
