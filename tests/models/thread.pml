/* SPDX-License-Identifier: ISC */

/*
 * A thread of a client, as wake.pml and away.pml have it: what it does with one buffer, A, and
 * with a cache in which another one, B, of another size may lie.
 *
 *	here			there
 *	hit_give, hit_take	bud_inline_give(), bud_inline_take()
 *	stopped			bud_inline_stopped()
 *	enter, leave		client/cache.c: enter(), leave(), empty()
 *	settle_in		settle_in(): the thread gets its cache only now
 *	yield_			bud__cache_yield()
 *	give_beyond		free_beyond(): somebody_waits(), bud__cache_give(), give()
 *	take_beyond		alloc_beyond() with BUD_LOCAL: bud__take_now(), which does not wait
 *	GAVE()			bud__gave(), WAITS somebody_waits(): the including model's
 *
 * Its conditions:
 *	ENTRY	 a hit looks at `stop` after raising `busy`
 *	EXIT	 a hit looks at `stop` after lowering `busy`
 *	LOOK	 what was given is followed by a look at who waits, bud__gave()
 *	AGAIN	 cache_leave() returns the bits that came meanwhile, and they are heeded
 *	TOLD	 who could not enter, because a taker is there, says so as if it had given: the
 *		 taker may have found it in the midst of a hit, and left it alone
 */
#ifndef ENTRY
#define ENTRY 1
#endif
#ifndef EXIT
#define EXIT 1
#endif
#ifndef LOOK
#define LOOK 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#ifndef TOLD
#define TOLD 1
#endif
#ifndef OPS
#define OPS 2
#endif

#define THREAD	0 /* writer */
#define BUSY	0 /* locations */
#define A	1 /* 1: it lies in the cache */
#define B	2
#define UNUSED	3
#define LOCS	4
#include "tso.pml"

#define RAISED	1 /* bits of stop: CACHE_QUEUED, or CACHE_AWAY */
#define OWNER	2
#define TAKER	4

byte stop;
bit used;	/* caches_used */
bit map_a, map_b;
bit held;	/* the thread has A */
bit both;	/* are waited for, or B alone */

#define SET(bits)	stop = stop | (bits)
#define CLEAR(bits)	stop = stop & (255 - (bits))
#define HOLDS		(a || b)
#define FITS		(map_b && (map_a || !both))

inline look_into() {
	load(THREAD, A, a); load(THREAD, B, b)
}

inline empty_() {
	look_into();
	if
	:: a -> d_step { DRAINED(THREAD) -> assert(!map_a); map_a = 1 }; store(THREAD, A, 0, RELAXED);
		gave = 1
	:: else -> skip
	fi;
	if
	:: b -> d_step { DRAINED(THREAD) -> assert(!map_b); map_b = 1 }; store(THREAD, B, 0, RELAXED);
		gave = 1
	:: else -> skip
	fi;
	a = 0; b = 0
}

/* inside: 0 is no, a taker is there. */
inline enter() {
	if
	:: atomic { (stop & TAKER) -> inside = 0 }
	:: d_step { !(stop & TAKER) && DRAINED(THREAD) -> raised = (stop != 0); SET(OWNER); inside = 1 }
		if
		:: raised -> empty_()
		:: else -> skip
		fi;
		raised = 0
	fi
}

inline leave() {
	do
	:: d_step { DRAINED(THREAD) -> CLEAR(OWNER); raised = (AGAIN && (stop & RAISED)) }
		look_into();
		if
		:: raised && HOLDS -> a = 0; b = 0; enter();
			if
			:: !inside -> break
			:: else -> skip
			fi
		:: else -> break
		fi
	od;
	inside = 0; raised = 0; a = 0; b = 0
}

inline settle_in() {
	if
	:: !current ->
#if MADE
		d_step { DRAINED(THREAD) -> used = 1 };
		if
		:: WAITS_ANYHOW -> skip
		:: else -> current = 1
		fi
#else
		if
		:: WAITS_ANYHOW -> skip
		:: else -> current = 1
		fi;
		d_step { DRAINED(THREAD) -> used = 1 }
#endif
	:: else -> skip
	fi
}

inline yield_() {
	if
	:: used && current -> look_into();
		if
		:: HOLDS -> a = 0; b = 0; enter();
			if
			:: inside -> empty_(); leave()
			:: else -> gave = gave | TOLD
			fi
		:: else -> skip
		fi
	:: else -> skip
	fi
}

inline stopped() {
	enter();
	if
	:: inside -> leave()
	:: else -> skip
	fi;
#if TOLD
	GAVE();
#else
	if
	:: gave -> GAVE()
	:: else -> skip
	fi;
#endif
	gave = 0
}

inline give_to_map() {
	d_step { DRAINED(THREAD) -> assert(held && !map_a); held = 0; map_a = 1 }
}

inline give_beyond() {
	if
	:: WAITS -> yield_(); give_to_map()
	:: else -> settle_in();
		if
		:: current -> enter()
		:: else -> inside = 0
		fi;
		if
		:: inside -> held = 0; store(THREAD, A, 1, RELAXED); leave()
		:: else -> give_to_map()
		fi
	fi;
#if LOOK
	GAVE();
#endif
	gave = 0
}

inline hit_give() {
	hit = 0;
	if
	:: current -> store(THREAD, BUSY, 1, RELAXED);
		if
		:: ENTRY && stop != 0 -> skip
		:: else -> hit = 1; held = 0; store(THREAD, A, 1, RELAXED)
		fi;
		store(THREAD, BUSY, 0, RELEASE);
		if
		:: hit && EXIT && stop != 0 -> stopped()
		:: else -> skip
		fi
	:: else -> skip
	fi
}

inline take_beyond() {
	if
	:: WAITS -> yield_()
	:: else -> settle_in();
		if
		:: current -> enter()
		:: else -> inside = 0
		fi;
		if
		:: inside -> load(THREAD, A, a);
			if
			:: a -> store(THREAD, A, 0, RELAXED); held = 1
			:: else ->
				if /* a refill */
				:: d_step { map_a && ACQUIRES(THREAD) -> map_a = 0; held = 1 }
				:: !map_a
				fi
			fi;
			a = 0; leave()
		:: else -> skip
		fi;
		if
		:: !held ->
			if
			:: d_step { map_a && ACQUIRES(THREAD) -> map_a = 0; held = 1 }
			:: !map_a -> yield_()
			fi
		:: else -> skip
		fi
	fi;
	if
	:: gave -> GAVE()
	:: else -> skip
	fi;
	gave = 0
}

inline hit_take() {
	hit = 0;
	if
	:: current -> store(THREAD, BUSY, 1, RELAXED);
		if
		:: ENTRY && stop != 0 -> a = 0
		:: else -> load(THREAD, A, a)
		fi;
		if
		:: a -> hit = 1; store(THREAD, A, 0, RELAXED); held = 1
		:: else -> skip
		fi;
		a = 0;
		store(THREAD, BUSY, 0, RELEASE);
		if
		:: hit && EXIT && stop != 0 -> stopped()
		:: else -> skip
		fi
	:: else -> skip
	fi
}

/* It ends: what is waited for is in the map or in its cache. */
proctype thread(bit current) {
	byte ops;
	bit a, b, inside, raised, hit, gave;

	do
	:: held -> hit_give();
		if
		:: !hit -> give_beyond()
		:: else -> skip
		fi
	:: !held && ops < OPS -> ops++; hit_take();
		if
		:: !hit -> take_beyond()
		:: else -> skip
		fi
	:: !held || !both -> break
	od
}

/* A and B in the thread's cache, its hand or the map; it has a cache already, or not. */
inline begin() {
	if
	:: both = 1
	:: skip
	fi;
	if
	:: used = 1; mem[B] = 1; held = 1; run thread(1)
	:: used = 1; mem[B] = 1; mem[A] = 1; run thread(1)
	:: used = 1; mem[B] = 1; map_a = 1; run thread(1)
	:: map_b = 1; held = 1; run thread(0)
	fi
}
