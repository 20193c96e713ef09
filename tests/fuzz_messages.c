/* SPDX-License-Identifier: ISC */

/*
 * libFuzzer on the validation of messages: any bytes, of any length, as a record would be
 * received. What is judged valid has to keep its promises.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. \
 *	    tests/fuzz_messages.c proto/messages.c -o fuzz_messages
 *	./fuzz_messages -max_total_time=60 -max_len=256
 */
#include <stdlib.h>
#include <string.h>

#include "proto/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static bool
ends(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

static void
check_promises(const union proto_msg *m, size_t size, bool client)
{
	must(m->header.size == size && size >= proto_size(m->header.type));
	must(size == proto_size(m->header.type) ||
	     (m->header.type == PROTO_HELLO && m->hello.version_max > PROTO_VERSION));
	must(proto_name(m->header.type)[0] != '(');
	if (client)
		must(proto_check_budd(m, size) == PROTO_E_TYPE);
	else
		must(proto_check_client(m, size) == PROTO_E_TYPE);
	if (m->header.type == PROTO_HELLO)
		must(ends(m->hello.pool, sizeof(m->hello.pool)) &&
		     ends(m->hello.command, sizeof(m->hello.command)));
	if (m->header.type == PROTO_REFUSE)
		must(ends(m->refuse.reason, sizeof(m->refuse.reason)) &&
		     m->refuse.error > 0);
	if (m->header.type == PROTO_ALLOC)
		must(m->alloc.tag != 0 && m->alloc.count >= 1 &&
		     m->alloc.count <= PROTO_COUNT_MAX && m->alloc.timeout_ms >= -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union proto_msg *m;
	int client, budd;

	/* Of the record's very size, so that a read behind its end is seen. */
	if (size > sizeof(*m) || (m = malloc(size > 0 ? size : 1)) == NULL)
		return 0;
	memcpy(m, data, size);
	client = proto_check_client(m, size);
	budd = proto_check_budd(m, size);
	must(proto_strerror(client) != NULL && proto_strerror(budd) != NULL);
	must(client != 0 || budd != 0);
	if (client == 0 || budd == 0)
		check_promises(m, size, client == 0);
	free(m);
	return 0;
}
