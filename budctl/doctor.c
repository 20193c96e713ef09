/* SPDX-License-Identifier: ISC */

/*
 * budctl doctor: is this host fit for bud? It needs no budd and no privilege; what it may not
 * look at, it says. The exit code is 1 if there is a fault.
 */
#include "budctl/doctor.h"

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/fields.h"
#include "budctl/http.h"
#include "budctl/terminal.h"

#define TEXT_BYTES 400

static const char *const verdicts[] = {
	[VERDICT_OK] = "ok", [VERDICT_WARNING] = "warning", [VERDICT_FAULT] = "fault"
};

void
doctor_find(struct doctor *d, const char *what, enum verdict verdict,
    const char *remedy, const char *format, ...)
{
	cJSON *o = cJSON_CreateObject();
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (cJSON_AddStringToObject(o, "what", what) == NULL ||
	    cJSON_AddStringToObject(o, "verdict", verdicts[verdict]) == NULL ||
	    cJSON_AddStringToObject(o, "finding", text) == NULL ||
	    (remedy != NULL && verdict != VERDICT_OK &&
		cJSON_AddStringToObject(o, "remedy", remedy) == NULL) ||
	    !cJSON_AddItemToArray(d->findings, o))
		errx(BUDCTL_FAILED, "no memory");
	if (verdict > d->worst)
		d->worst = verdict;
}

bool
doctor_read(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;

	text[0] = '\0';
	if (f == NULL)
		return false;
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	fclose(f);
	return true;
}

bool
doctor_number(const char *path, const char *key, int base, uint64_t *valuep)
{
	FILE *f = fopen(path, "re");
	char line[256], *end;
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		*valuep = strtoull(line + strlen(key), &end, base);
		found = end != line + strlen(key);
	}
	fclose(f);
	return found;
}

static void
print_findings(const struct doctor *d)
{
	const cJSON *o;

	cJSON_ArrayForEach (o, d->findings) {
		char *finding = terminal_safe(field_text(o, "finding")),
		     *remedy = terminal_safe(field_text(o, "remedy"));
		const char *verdict = field_text(o, "verdict");
		bool loud = strcmp(verdict, verdicts[VERDICT_OK]) != 0;

		printf("%s%-7s%s  %-14s  %s\n", loud ? terminal_bold_on() : "", verdict,
		    loud ? terminal_bold_off() : "", field_text(o, "what"), finding);
		if (remedy[0] != '\0')
			printf("%25s> %s\n", "", remedy);
		free(finding);
		free(remedy);
	}
}

static void
print_json(struct doctor *d)
{
	cJSON *answer = cJSON_CreateObject();

	if (cJSON_AddStringToObject(answer, "verdict", verdicts[d->worst]) == NULL ||
	    !cJSON_AddItemToObject(answer, "findings", d->findings))
		errx(BUDCTL_FAILED, "no memory");
	fields_print(answer);
	cJSON_Delete(answer);
}

enum budctl_exit
doctor_command(const struct options *o, char *const args[])
{
	struct doctor d = { .options = o, .findings = cJSON_CreateArray() };
	cJSON *status = NULL;

	(void)args;
	if (d.findings == NULL)
		errx(BUDCTL_FAILED, "no memory");
	if (http_try(o->socket, "/v1/status", &status) == BUDCTL_OK)
		d.status = status;
	doctor_budd(&d);
	doctor_memory(&d);
	doctor_kernel(&d);
	if (o->json) {
		print_json(&d);
	} else {
		print_findings(&d);
		cJSON_Delete(d.findings);
	}
	cJSON_Delete(status);
	return d.worst == VERDICT_FAULT ? BUDCTL_FAILED : BUDCTL_OK;
}
