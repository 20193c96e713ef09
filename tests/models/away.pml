/* SPDX-License-Identifier: ISC */

/*
 * budd goes away while a thread takes, frees and caches, and a request of the same process
 * waits: bud__caches_end() and bud__serve_local(). From then on no tick looks again, so this
 * must hold by itself: in the end what the request asks for is free, in the map or in the
 * thread's cache, and the thread does nothing any more: then it was served.
 *
 *	here			there
 *	thread			thread.pml
 *	GAVE			bud__gave() when budd is away: under the pool's lock, empty the own
 *				cache, bud__serve_local()
 *	ender			bud__away(), under the pool's lock: `away`, a full barrier,
 *				bud__caches_end() with cache_raise(CACHE_AWAY), cache_seize(), the
 *				membarrier of one process; then bud__serve_local()
 *
 * Conditions, beside those of thread.pml:
 *	BARRIER	 before the ender looks whether a cache is busy, all processors run a barrier
 *	RAISE	 CACHE_AWAY is raised in all caches
 *	OWN	 GAVE empties the thread's own cache, once it has the lock: a taker that kept it
 *		 out before is gone then
 *	FLAG	 `away` is set before the ender looks at the map and at caches_used
 */
#ifndef BARRIER
#define BARRIER 1
#endif
#ifndef RAISE
#define RAISE 1
#endif
#ifndef OWN
#define OWN 1
#endif
#ifndef FLAG
#define FLAG 1
#endif

#define MADE	1 /* not needed here: who empties its own cache before it looks needs no list */
#define WRITERS 1
#define WAITS		(away && !served) /* crowded */
#define WAITS_ANYHOW	away
#define GAVE() \
	if \
	:: away -> d_step { !locked && DRAINED(THREAD) -> locked = 1 }; \
		OWN_(); \
		serve_local(); \
		locked = 0 \
	:: else -> skip \
	fi
#if OWN
#define OWN_() yield_()
#else
#define OWN_() skip
#endif
#define serve_local() \
	d_step { \
		if \
		:: FITS && !served -> served = 1; map_b = 0; map_a = map_a && !both \
		:: else -> skip \
		fi \
	}
bit away, locked, served;
#include "thread.pml"

proctype ender() {
	bit n, seized;

	d_step { !locked -> locked = 1 };
#if FLAG
	away = 1;
#endif
	n = used;
	if
	:: n ->
		if
		:: RAISE -> SET(RAISED)
		:: else -> skip
		fi;
		if
		:: d_step { !(stop & OWNER) -> SET(TAKER); seized = 1 }
		:: (stop & OWNER)
		fi
	:: else -> skip
	fi;
	if
	:: seized ->
#if BARRIER
		DRAINED(THREAD);
#endif
		if
		:: !mem[BUSY] ->
			if
			:: mem[A] -> mem[A] = 0; assert(!map_a); map_a = 1
			:: else -> skip
			fi;
			if
			:: mem[B] -> mem[B] = 0; assert(!map_b); map_b = 1
			:: else -> skip
			fi
		:: else -> skip
		fi;
		CLEAR(TAKER)
	:: else -> skip
	fi;
	serve_local();
#if !FLAG
	away = 1;
#endif
	locked = 0
}

proctype judge() {
	timeout;
	assert(served)
}

init {
	atomic { begin(); run flusher(THREAD); run ender(); run judge() }
}
