/* SPDX-License-Identifier: ISC */

/* budctl release: a release pass, now. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "budctl/command.h"
#include "budctl/fields.h"
#include "budctl/find.h"
#include "budctl/http.h"
#include "budctl/terminal.h"

static void
print_answer(const cJSON *answer)
{
	const cJSON *pool;

	if (field_number(answer, "blocks") == 0)
		puts("nothing to release: no pool has an empty additional block to "
		     "spare");
	cJSON_ArrayForEach (pool, cJSON_GetObjectItemCaseSensitive(answer, "pools")) {
		char *name = terminal_safe(field_text(pool, "name"));
		uint64_t blocks = field_number(pool, "blocks");

		printf("pool %" PRIu64 " '%s': %" PRIu64 " block%s\n",
		    field_number(pool, "id"), name, blocks, blocks == 1 ? "" : "s");
		free(name);
	}
}

static enum budctl_exit
release(const struct options *o, const cJSON *body)
{
	cJSON *answer;
	enum budctl_exit code =
	    http_send(o->socket, "POST", "/v1/release", body, &answer);

	if (code != BUDCTL_OK)
		return code;
	if (o->json)
		fields_print(answer);
	else
		print_answer(answer);
	cJSON_Delete(answer);
	return BUDCTL_OK;
}

enum budctl_exit
release_command(const struct options *o, char *const args[])
{
	cJSON *body = cJSON_CreateObject();
	enum budctl_exit code = BUDCTL_OK;
	uint64_t id;

	if (body == NULL)
		errx(BUDCTL_FAILED, "no memory");
	if (args[0] != NULL) {
		code = find_id(o->socket, args[0], &id);
		if (code == BUDCTL_OK &&
		    cJSON_AddNumberToObject(body, "pool", (double)id) == NULL)
			errx(BUDCTL_FAILED, "no memory");
	}
	if (code == BUDCTL_OK)
		code = release(o, body);
	cJSON_Delete(body);
	return code;
}
