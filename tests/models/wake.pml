/* SPDX-License-Identifier: ISC */

/*
 * Nobody waits unseen: C2 of proto/cache.c. A request comes to budd, for B or for both, while a
 * thread takes, frees and caches. In the end what it asks for is free, in the map or in the
 * thread's cache, and the thread does nothing any more: then it was served, without a tick.
 *
 *	here			there
 *	thread			thread.pml
 *	GAVE			bud__gave() while budd is there: ledger_queued(), bud__ring()
 *	budd			serve(): announce() with ledger_set_queued(), then
 *				grant_all_that_can_be_had() with caches_call_in(); and again with
 *				each message
 *
 * A grant and the take that follows it are one step here: a client that fails at its turn says
 * so, and that is a message.
 *
 * Conditions, beside those of thread.pml:
 *	BARRIER	 before budd looks whether a cache is busy, all processors run a barrier
 *	FIRST	 the first look after `queued` was raised comes after a barrier, even where
 *		 nothing seems to be in a cache (pool.call_in)
 *	BEFORE	 `queued` is raised before budd looks at the map and at caches_used
 *	RAISE	 CACHE_QUEUED is raised in all caches
 *	MADE	 who makes a cache raises caches_used before it looks at `queued`
 */
#ifndef MADE
#define MADE 1
#endif
#ifndef BARRIER
#define BARRIER 1
#endif
#ifndef FIRST
#define FIRST 1
#endif
#ifndef BEFORE
#define BEFORE 1
#endif
#ifndef RAISE
#define RAISE 1
#endif

#define WRITERS 1 /* what budd stores is drained by what it does next: see take.pml */
#define WAITS		queued
#define WAITS_ANYHOW	queued
#define GAVE() \
	if \
	:: queued -> d_step { DRAINED(THREAD) -> bell = 1 } \
	:: else -> skip \
	fi
bit queued, bell, served;
#include "thread.pml"

proctype budd() {
	bit n, seized, call_in = FIRST;

again:
#if BEFORE
	queued = 1;
#endif
	n = used;
	if
	:: n && RAISE -> SET(RAISED)
	:: else -> skip
	fi;
	if
	:: d_step { FITS -> served = 1 }; goto done
	:: !FITS
	fi;
	n = used;
	if
	:: n && (call_in || mem[A] || mem[B]) ->
		if
		:: d_step { !(stop & OWNER) -> SET(TAKER); seized = 1 }
		:: (stop & OWNER)
		fi;
		call_in = 0
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
		CLEAR(TAKER);
		seized = 0;
		if
		:: d_step { FITS -> served = 1 }; goto done
		:: !FITS
		fi
	:: else -> skip
	fi;
#if !BEFORE
	queued = 1;
#endif
end:	d_step { bell -> bell = 0 };
	goto again;
done:	skip
}

proctype judge() {
	timeout;
	assert(served)
}

init {
	atomic { begin(); run flusher(THREAD); run budd(); run judge() }
}
