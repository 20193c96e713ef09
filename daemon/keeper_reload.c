/* SPDX-License-Identifier: ISC */

/* budd.conf, read again: a file that is wrong changes nothing. */
#include <stdio.h>

#include "daemon/arbiter.h"
#include "daemon/config.h"
#include "daemon/descriptors.h"
#include "daemon/heap.h"
#include "daemon/hostwall.h"
#include "daemon/keeper_state.h"
#include "daemon/largepages.h"
#include "daemon/log.h"

static void
warn_line(void *ctx, const char *line)
{
	(void)ctx;
	log_warn("keeper", "%s", line);
}

void
keeper_note_pages(const struct config *config)
{
	struct largepages large;

	largepages_read(&large, LARGEPAGES_PATH);
	largepages_check(&large, config, warn_line, NULL);
}

/* An arbiter may not know yet that a section allows less than it did. */
void
keeper_allow_memory(struct vault *v, const struct config *config)
{
	const uint64_t page = heap_kind_chunks(HEAP_HUGE) * CHUNK_SIZE;
	const struct config_pool *pool;

	STAILQ_FOREACH (pool, &config->pools, entry) {
		uint64_t most =
		    pool->wall > pool->wall_max ? pool->wall : pool->wall_max;

		most = (most + page - 1) / page * page;
		v->longest = v->longest > most ? v->longest : most;
	}
}

void
keeper_reload(struct keeper *k)
{
	struct config *config;
	uint64_t wall;
	char why[512];

	if (config_load(&config, k->spec.config_path, stderr) != 0) {
		log_err("keeper",
		    "the configuration is wrong, and nothing was changed; "
		    "budd -t tells what it is");
		return;
	}
	if (hostwall_find(
		config->host.wall, heap_charge(1, 1), &wall, why, sizeof(why)) != 0) {
		log_err("keeper", "nothing was changed: %s", why);
		config_free(config);
		return;
	}
	descriptors_fit(&config->host.clients_max);
	config_free(k->spec.config);
	k->spec.config = config;
	k->read_at = clock_now();
	k->vault.host_wall = wall;
	k->vault.user_clients = config->host.user_clients;
	keeper_allow_memory(&k->vault, config);
	k->reloaded = true;
	keeper_note_pages(config);
	log_info("keeper", "the configuration was read again");
}
